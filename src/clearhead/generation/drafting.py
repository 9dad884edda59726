"""Speculative decoding that changes no text: a mixture's n-gram guesses ahead, and the GPT reads all guesses at once.

A GPT that is larger than the processor's cache waits for its weights, and reads four tokens in little more time than
one. So for a lone row the n-gram guesses what comes, by the same random numbers that the row will be drawn with, and
the GPT reads all guesses in one step. Tokens are then drawn from the mixture's logits as ever; a guess that is not
what was drawn ends the use of those after it. Leviathan et al. (2023) and Chen et al. (2023) accept a guess more
often, for they keep the distribution only; here every text is the one that would have been drawn without guesses.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from clearhead.models.decoding import Decode
from clearhead.models.mixture_decoding import CompiledMixtureDecoder, Drafted

GUESSES = 3
"""Of a mixture of 10.6 million parameters that had read tiny Shakespeare for a quarter of an hour 1, 3 and 5 guesses
gave 1.7, 2.7 and 3.2 tokens a reading, at 1.0, 1.4 and 1.8 times the cost of none."""
LARGE = 16_000_000
"""Bytes. Smaller weights lie in a processor's cache: there four tokens cost twice what one costs, and guessing gains
nothing."""


def drafts_of(decode: Decode) -> "Drafts | None":
    """Those of a mixture with a compiled step and large weights; None where guessing does not pay.

    It never does by int8, which takes little memory and much work: four tokens at once cost three times what one costs.
    """
    if isinstance(decode, CompiledMixtureDecoder) and decode.gpt.weights != torch.int8 and decode.gpt.bytes >= LARGE:
        return Drafts(decode)
    return None


class Drafts:
    """What has been read ahead of a batch's only row."""

    def __init__(self, decoder: CompiledMixtureDecoder) -> None:
        self.decoder = decoder
        self._drafted: Drafted | None = None
        self._used = 0
        """How many of the drafted tokens are known to be right."""

    def forget(self) -> None:
        """The row is another one, or no longer alone; its cache counts nothing that was only guessed."""
        self._drafted = None

    def after(self, token: int, room: int, chances: Callable[[int], list[float]], temperature: float) -> Tensor:
        """Logits (1, V) after the next token of the row, whose cache has room for so many more.

        `chances` tells the numbers that tokens after it will be drawn with.
        """
        drafted = self._drafted
        if drafted is None or drafted.ids[self._used : self._used + 1] != [token]:
            drafted = self.decoder.draft(token, chances(min(GUESSES, room - 1)), temperature)
            self._drafted, self._used = drafted, 0
        self._used += 1
        return self.decoder.accept(drafted, self._used - 1)
