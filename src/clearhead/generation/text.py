"""From a prompt to text: what the model is shown first, what comes out, and where it ends."""

import codecs
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from clearhead.config import SamplingConfig
from clearhead.errors import TokenizerError
from clearhead.generation.generate import stream_ids
from clearhead.models.base import LanguageModel
from clearhead.tokenizers.base import Tokenizer


class Prompt(NamedTuple):
    """What a model is shown for a prompt."""

    ids: list[int]
    """At least one; begins with end-of-text when the tokenizer has one, for that is how documents begin."""
    dropped: list[str]
    """Pieces of the prompt that the model has never seen: left out, or shown as unknown."""

    def exceeds(self, model: LanguageModel) -> bool:
        """Whether the prompt is longer than the model's context, so that only its end is read."""
        return model.block_size is not None and len(self.ids) > model.block_size


def encode_prompt(tokenizer: Tokenizer, prompt: str, strict: bool = False) -> Prompt:
    """The ids that stand for a prompt; an empty one is a line end where the vocabulary has it, else the first id.

    TokenizerError when `strict` and the prompt holds a piece outside the vocabulary.
    """
    dropped = tokenizer.unknown(prompt)
    if strict and dropped:
        raise TokenizerError(
            f"the model has never seen {', '.join(map(repr, dropped[:8]))}; change the prompt, or let them be dropped"
        )
    ids = _known_ids(tokenizer, prompt, dropped)
    if tokenizer.eot_id is not None:
        ids = [tokenizer.eot_id, *ids]
    return Prompt(ids or _first_ids(tokenizer), dropped)


def stream_text(
    model: LanguageModel, tokenizer: Tokenizer, prompt: str, sampling: SamplingConfig, row: int = 0
) -> Iterator[str]:
    """Yield the text that continues a prompt; no piece splits a character or shows the start of a stop text.

    `row` is the number of the sample: with the same seed, each row is another text. Unseen pieces of the prompt
    are dropped (`encode_prompt` tells which). Ends at end-of-text, before a stop text, or after
    `max_new_tokens`.
    """
    idx = torch.tensor([encode_prompt(tokenizer, prompt).ids])
    writer = Writer(tokenizer, sampling.stop)
    for tokens in stream_ids(model, idx, sampling, rows=[row], forbidden=forbidden_tokens(tokenizer)):
        if text := writer.push(int(tokens)):
            yield text
        if writer.done:
            return
    if text := writer.finish():
        yield text


def generate_samples(model: LanguageModel, tokenizer: Tokenizer, prompt: str, sampling: SamplingConfig) -> list[str]:
    """`sampling.num_samples` continuations of a prompt, drawn side by side: row i is `stream_text(..., row=i)`."""
    rows = range(sampling.num_samples)
    idx = torch.tensor([encode_prompt(tokenizer, prompt).ids]).expand(len(rows), -1)
    writers = [Writer(tokenizer, sampling.stop) for _ in rows]
    texts = [""] * len(rows)
    for tokens in stream_ids(model, idx, sampling, rows=rows, forbidden=forbidden_tokens(tokenizer)):
        for row, token in enumerate(tokens.tolist()):
            texts[row] += writers[row].push(token)
        if all(writer.done for writer in writers):
            break
    return [text + writer.finish() for text, writer in zip(texts, writers, strict=True)]


class Writer:
    """Turns tokens into text as they come; `done` once the text has ended, and then silent.

    A character that comes in several tokens is held back until it is whole, and what may be the beginning of a
    stop text until it is known not to be.
    """

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = (), pieces: Sequence[bytes] | None = None) -> None:
        """`pieces` are the bytes of all tokens, where many writers share them: looking up is 4 times as fast."""
        self.tokenizer, self.stop, self.pieces = tokenizer, stop, pieces
        self.done = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def push(self, token: int) -> str:
        """The text that one more token makes certain."""
        if self.done:
            return ""
        if token == self.tokenizer.eot_id:
            return self.finish()
        piece = self.tokenizer.decode_bytes([token]) if self.pieces is None else self.pieces[token]
        return self._release(self._decoder.decode(piece))

    def finish(self) -> str:
        """What is still held back, at the end of the tokens."""
        if self.done:
            return ""
        text = self._release(self._decoder.decode(b"", final=True)) + self._held
        self.done, self._held = True, ""
        return text

    def _release(self, text: str) -> str:
        """Add text to what is held; return, and no longer hold, what comes before any stop text."""
        text = self._held + text
        found = [at for stop in self.stop if (at := text.find(stop)) >= 0]
        if found:
            self.done, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self.stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of text that begins stop."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if stop.startswith(text[-n:])), 0)


def _known_ids(tokenizer: Tokenizer, text: str, unseen: list[str]) -> list[int]:
    """Ids of a text; unseen pieces become unknown where the vocabulary has that, else are left out."""
    if not unseen or tokenizer.unk_id is not None:
        return tokenizer.encode(text).tolist()
    # A twin that knows the unknown tells where the unseen pieces are, whatever a piece is to this tokenizer.
    twin = type(tokenizer).from_dict({**tokenizer.to_dict(), "unk": True})
    ids = twin.encode(text)
    return ids[ids != twin.unk_id].tolist()


def _first_ids(tokenizer: Tokenizer) -> list[int]:
    """What stands before a text that begins from nothing, where there is no end-of-text."""
    return [0] if tokenizer.unknown("\n") else tokenizer.encode("\n").tolist()


def forbidden_tokens(tokenizer: Tokenizer) -> list[int]:
    """Unknown is what a text holds, never what is written."""
    return [] if tokenizer.unk_id is None else [tokenizer.unk_id]
