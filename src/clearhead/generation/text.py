"""From a prompt to text: what the model is shown first, what comes out, and where it ends."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from clearhead.config import SamplingConfig
from clearhead.errors import TokenizerError
from clearhead.generation.batch import Batch, Drawn
from clearhead.models.base import LanguageModel
from clearhead.tokenizers.base import Tokenizer
from clearhead.tokenizers.special import SURROGATE

SLOTS = 32
"""Samples drawn side by side: more are hardly faster, and each takes its share of the cache."""


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


class Sample(NamedTuple):
    """A text that a model wrote."""

    text: str
    drawn: tuple[Drawn, ...]
    """Its tokens; more than the text shows where a stop text ended it."""


def stream_text(
    model: LanguageModel, tokenizer: Tokenizer, prompt: str, sampling: SamplingConfig, row: int = 0
) -> Iterator[str]:
    """Yield the text that continues a prompt; no piece splits a character or shows the start of a stop text.

    `row` is the number of the sample: with the same seed, each row is another text. Unseen pieces of the prompt
    are dropped (`encode_prompt` tells which). Ends at end-of-text, before a stop text, or after
    `max_new_tokens`.
    """
    batch = Batch(model, 1, forbidden=forbidden_tokens(tokenizer))
    batch.admit(encode_prompt(tokenizer, prompt).ids, sampling, row=row)
    writer = Writer(tokenizer, sampling.stop)
    for _ in range(sampling.max_new_tokens):
        if text := writer.push(batch.step()[0].token):
            yield text
        if writer.done:
            return
    if text := writer.finish():
        yield text


def generate_samples(model: LanguageModel, tokenizer: Tokenizer, prompt: str, sampling: SamplingConfig) -> list[str]:
    """The texts of `draw_samples`."""
    return [sample.text for sample in draw_samples(model, tokenizer, prompt, sampling)]


def draw_samples(model: LanguageModel, tokenizer: Tokenizer, prompt: str, sampling: SamplingConfig) -> list[Sample]:
    """`sampling.num_samples` continuations of a prompt: row i is `stream_text(..., row=i)`.

    They are drawn side by side, as many at once as the cache has slots; where one ends, the next begins.
    """
    ids = encode_prompt(tokenizer, prompt).ids
    batch = Batch(model, min(SLOTS, sampling.num_samples), forbidden=forbidden_tokens(tokenizer))
    waiting, done = iter(range(sampling.num_samples)), {}
    if sampling.max_new_tokens == 0:
        return [Sample("", ())] * sampling.num_samples
    live: dict[int, _Growing] = {}
    while len(done) < sampling.num_samples:
        for row in islice(waiting, batch.free):
            live[batch.admit(ids, sampling, row=row)] = _Growing(row, Writer(tokenizer, sampling.stop))
        for drawn in batch.step():
            growing = live[drawn.slot]
            growing.take(drawn)
            if growing.writer.done or len(growing.drawn) == sampling.max_new_tokens:
                batch.release(drawn.slot)
                done[growing.row] = live.pop(drawn.slot).sample()
    return [done[row] for row in range(sampling.num_samples)]


@dataclass
class _Growing:
    """A sample that is being written."""

    row: int
    writer: "Writer"
    text: str = ""
    drawn: list[Drawn] = field(default_factory=list)

    def take(self, drawn: Drawn) -> None:
        self.drawn.append(drawn)
        self.text += self.writer.push(drawn.token)

    def sample(self) -> Sample:
        return Sample(self.text + self.writer.finish(), tuple(self.drawn))


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
        return self.push_bytes(self.tokenizer.decode_bytes([token]) if self.pieces is None else self.pieces[token])

    def push_bytes(self, more: bytes) -> str:
        """The same of the bytes of tokens, none of which is end-of-text."""
        return "" if self.done else self._release(self._decoder.decode(more))

    def finish(self) -> str:
        """What is still held back, at the end of the tokens."""
        if self.done:
            return ""
        text = self._release(self._decoder.decode(b"", final=True)) + self._held
        self.done, self._held = True, ""
        return text

    def _release(self, text: str) -> str:
        """Add text to what is held; return, and no longer hold, what comes before any stop text."""
        if not self.stop:
            return text
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
    text = SURROGATE.sub("", text)  # no UTF-8 says these; tokenizers of bytes say all else
    if not tokenizer.unknown(text):
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
