"""One text while it is written: tokens in; text, log-probabilities and the reason of its end out.

The engine's thread writes, the server's thread reads what is new; a deque between them is all they share.
"""

import codecs
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from clearhead.config import SamplingConfig
from clearhead.generation.text import Writer
from clearhead.tokenizers.base import Tokenizer, token_bytes

LOWEST = -9_999.0
"""Stands for the log-probability of the impossible: JSON has no infinity."""
Top = Sequence[tuple[int, float]]
"""Token ids and their natural log-probabilities, the likeliest first."""


class Vocabulary:
    """The bytes and the names of a tokenizer's tokens, looked up once for all requests."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.bytes = token_bytes(tokenizer)
        self.names = [self._name(token) for token in range(tokenizer.vocab_size)]

    def _name(self, token: int) -> str:
        r"""As the API tells of a token: its text, or `bytes:\xe2\x80` where that is no whole character."""
        if token in (self.tokenizer.eot_id, self.tokenizer.unk_id):
            return self.tokenizer.token_text(token)
        try:
            return self.bytes[token].decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.bytes[token])


class Scored(NamedTuple):
    """One token as the API tells of it."""

    id: int
    name: str
    logprob: float | None
    """Natural; None for a text's first token, before which nothing stands."""
    top: dict[str, float] | None
    """The likeliest tokens and this one, by name."""
    offset: int
    """Characters of the text before it."""


class Part(NamedTuple):
    """What has come since the last look."""

    text: str = ""
    scored: tuple[Scored, ...] = ()
    finish: str | None = None
    """`stop` or `length` with the last part, None before."""


@dataclass(eq=False)
class Text:
    """One of the texts that a request asks for."""

    vocabulary: Vocabulary
    ids: Sequence[int]
    """The prompt, at least one token."""
    sampling: SamplingConfig
    number: int = 0
    """Among the samples of its seed."""
    hidden: int = 0
    """How many tokens of the prompt the caller did not write: they are not told of."""
    echo: bool = False
    """The answer begins with the prompt."""
    written: int = field(default=0, init=False)
    """Tokens drawn."""
    scoring: bool = field(init=False)
    """The prompt's own tokens are still to be scored."""

    def __post_init__(self) -> None:
        self.scoring = self.echo and self.sampling.logprobs is not None
        self._writer = Writer(self.vocabulary.tokenizer, self.sampling.stop, self.vocabulary.bytes)
        self._new: deque[Part] = deque()
        self._held: list[Scored] = []  # tokens whose text is not certain yet
        self._plain = not self.sampling.stop and self.sampling.logprobs is None
        self._drawn: list[int] = []  # tokens that nobody has asked for yet
        told = self.vocabulary.tokenizer.decode(self.ids[self.hidden :]) if self.echo else ""
        self._certain = len(told)  # characters that are told of, or will be
        self._decoded, self._decode = 0 if self.scoring else self._certain, _decoder()
        if told:
            self._new.append(Part(told))

    @property
    def ended(self) -> bool:
        """Whether the last part is there."""
        return self._writer.done

    def take_prompt(self, position: int, logprob: float | None, top: Top) -> None:
        """The prompt's token at a position was scored."""
        if position >= self.hidden:
            self._hold(self.ids[position], logprob, top)
            self._pass_on("")

    def begin(self) -> None:
        """The prompt has been told of; what comes now is new."""
        self._pass_on("", whole=True)
        self.scoring, self._decoded, self._decode = False, self._certain, _decoder()
        if self.sampling.max_new_tokens == 0:
            self._finish()

    def take(self, token: int, logprob: float | None, top: Top) -> bool:
        """One more token was drawn; whether it is the first or the last.

        Where neither stop texts nor log-probabilities are asked for, it becomes text when that is read, together with
        others: token by token, that was most of what the writing thread did beside drawing.
        """
        self.written += 1
        last = self.written >= self.sampling.max_new_tokens
        if self._plain and not last and token != self.vocabulary.tokenizer.eot_id:
            self._drawn.append(token)
            return self.written == 1
        self.settle()
        if logprob is not None and token != self.vocabulary.tokenizer.eot_id:
            self._hold(token, logprob, top)
        text = self._writer.push(token)
        if self._writer.done:
            self._pass_on(text, "stop")
        elif last:
            self._finish(text)
        else:
            self._pass_on(text)
        return self.ended or self.written == 1

    def settle(self) -> None:
        """Let tokens become text that can be read."""
        if self._drawn:
            pieces = self.vocabulary.bytes
            more = b"".join([pieces[token] for token in self._drawn])
            self._drawn.clear()
            self._pass_on(self._writer.push_bytes(more))

    def read(self) -> Part:
        """All that is new since the last call."""
        parts = [self._new.popleft() for _ in range(len(self._new))]
        if len(parts) == 1:
            return parts[0]
        scored = tuple(token for part in parts for token in part.scored)
        return Part("".join(part.text for part in parts), scored, parts[-1].finish if parts else None)

    def _hold(self, token: int, logprob: float | None, top: Top) -> None:
        names = self.vocabulary.names
        likeliest = None
        if logprob is not None:
            logprob = max(logprob, LOWEST)
            likeliest = {names[each]: max(value, LOWEST) for each, value in top} | {names[token]: logprob}
        self._held.append(Scored(token, names[token], logprob, likeliest, self._decoded))
        self._decoded += len(self._decode.decode(self.vocabulary.bytes[token]))

    def _finish(self, text: str = "") -> None:
        """No token more may come: what was held back is text after all."""
        self._pass_on(text + self._writer.finish(), "length", whole=True)

    def _pass_on(self, text: str, finish: str | None = None, *, whole: bool = False) -> None:
        """Tell a piece of text, and the tokens that begin in what is certain; all of them where no stop cut any off."""
        self._certain += len(text)
        scored: tuple[Scored, ...] = ()
        if self._held:
            count = sum(whole or token.offset < self._certain for token in self._held)
            scored = tuple(self._held[:count])
            del self._held[:count]
        if text or scored or finish:
            self._new.append(Part(text, scored, finish))


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")
