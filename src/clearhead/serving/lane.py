"""One run in the engine: its batch, and what it scores beside. Only the engine's thread touches it."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from clearhead.generation.batch import Batch
from clearhead.generation.scoring import score_windows
from clearhead.generation.text import forbidden_tokens
from clearhead.models.base import LanguageModel
from clearhead.serving.tickets import Request, Ticket
from clearhead.serving.writing import Text, Vocabulary


@dataclass
class Scoring:
    """A text whose prompt is being scored, a window at a time."""

    ticket: Ticket
    windows: Iterator[tuple[int, Tensor]]

    def advance(self) -> int | None:
        """Score one more window and tell the text; how many tokens it had, None when there was none left."""
        text = self.ticket.text
        window = next(self.windows, None)
        if window is None:
            return None
        position, logprobs = window
        ids = torch.as_tensor(text.ids[position : position + len(logprobs)], dtype=torch.long)
        own = logprobs.gather(1, ids[:, None])[:, 0].tolist()
        top = logprobs.topk(min(text.sampling.logprobs or 0, logprobs.shape[1]))
        for i, (tokens, values) in enumerate(zip(top.indices.tolist(), top.values.tolist(), strict=True)):
            text.take_prompt(position + i, own[i], tuple(zip(tokens, values, strict=True)))
        return len(own)


class Lane:
    """Rows of one run: `admit` takes a text in, `step` advances all of them by one token."""

    def __init__(self, name: str, model: LanguageModel, vocabulary: Vocabulary, slots: int) -> None:
        self.name, self.model, self.vocabulary, self.slots = name, model, vocabulary, slots
        self.reset()

    def reset(self) -> None:
        """Forget all rows, whatever state they were left in."""
        self.batch = Batch(self.model, self.slots, forbidden=forbidden_tokens(self.vocabulary.tokenizer))
        self.rows: dict[int, Ticket] = {}
        self.scoring: Scoring | None = None
        self.scored: deque[Ticket] = deque()  # wait for a slot, before all others

    def __len__(self) -> int:
        return len(self.rows) + len(self.scored) + (self.scoring is not None)

    def takes(self, text: Text) -> bool:
        """Whether there is room for a text now."""
        if text.scoring:
            return self.scoring is None and not self.scored
        return self.batch.free > len(self.scored)

    def admit(self, ticket: Ticket) -> None:
        """Take a text in."""
        text = ticket.text
        if text.scoring:
            self.scoring = Scoring(ticket, score_windows(self.model, text.ids))
            text.take_prompt(0, None, ())
        elif text.sampling.max_new_tokens == 0:
            self.scored.append(ticket)
        else:
            self.rows[self.batch.admit(text.ids, text.sampling, row=text.number)] = ticket

    def drop(self, request: Request) -> None:
        """Let go of what is left of a request."""
        for slot in [slot for slot, ticket in self.rows.items() if ticket.request is request]:
            self._release(slot)
        self.scored = deque(ticket for ticket in self.scored if ticket.request is not request)
        if self.scoring is not None and self.scoring.ticket.request is request:
            self.scoring = None

    def step(self) -> Iterator[tuple[Ticket, int]]:
        """Draw the next token of every row, and score one window: tickets of texts that begin, end or are scored, with
        how many tokens were scored."""
        if self.scoring is not None:
            yield from self._score(self.scoring)
        while self.scored and (self.batch.free or not self.scored[0].text.sampling.max_new_tokens):
            ticket = self.scored.popleft()
            ticket.text.begin()
            if not ticket.text.ended:
                self.admit(ticket)
            yield ticket, 0
        for slot, token, logprob, top in self.batch.step():
            ticket = self.rows[slot]
            if ticket.text.take(token, logprob, top):
                if ticket.text.ended:
                    self._release(slot)
                yield ticket, 0

    def _score(self, scoring: Scoring) -> Iterator[tuple[Ticket, int]]:
        tokens = scoring.advance()
        if tokens is None:
            self.scoring = None
            self.scored.append(scoring.ticket)
        else:
            yield scoring.ticket, tokens

    def _release(self, slot: int) -> None:
        del self.rows[slot]
        self.batch.release(slot)
