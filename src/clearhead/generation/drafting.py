"""Speculative decoding that changes no text: a mixture's n-gram guesses ahead, and the GPT reads all guesses at once.

A GPT that is larger than the processor's cache waits for its weights, and reads four tokens in little more time than
one. So for a lone row the n-gram guesses what comes, by the same random numbers that the row will be drawn with, and the
mixture's logits after all guesses are found in one step. Tokens are then drawn from these logits as ever; a guess that
is not what was drawn ends their use. Leviathan et al. (2023) and Chen et al. (2023) accept a guess more often, since
they keep the distribution only; here every text is the one that would have been drawn without guesses.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from clearhead.models.decoding import Decode
from clearhead.models.mixture_decoding import CompiledMixtureDecoder

GUESSES = 3
"""Of a mixture of 10.6 million parameters that had read tiny Shakespeare for a quarter of an hour 1, 3 and 5 guesses
gave 1.7, 2.7 and 3.2 tokens a reading, at 1.0, 1.4 and 1.8 times the cost of none."""


def drafts_of(decode: Decode) -> "Drafts | None":
    """Those of a mixture with a compiled step; None for other models, and for int8 weights: they take little memory and
    much work, and reading four tokens at once costs three times as much as one."""
    if isinstance(decode, CompiledMixtureDecoder) and decode.gpt.weights != torch.int8:
        return Drafts(decode)
    return None


class Drafts:
    """What has been read ahead of a batch's only row."""

    def __init__(self, decoder: CompiledMixtureDecoder) -> None:
        self.decoder = decoder
        self._ids: list[int] = []
        self._logits: list[Tensor] = []

    def forget(self) -> None:
        """The row is another one, or no longer alone; its cache counts nothing that was only guessed."""
        self._ids.clear()
        self._logits.clear()

    def after(self, token: int, room: int, chances: Callable[[int], list[float]], temperature: float) -> Tensor:
        """Logits (1, V) after the next token of the row, whose cache has room for so many more.

        `chances` tells the numbers that tokens after it will be drawn with.
        """
        if not self._ids or self._ids[0] != token:
            drafted = self.decoder.draft(token, chances(min(GUESSES, room - 1)), temperature)
            self._ids, self._logits = drafted.ids, list(drafted.logits)
        self.decoder.advance(self._ids.pop(0))
        return self._logits.pop(0)[None]
