"""What a run says while it trains. Each event is a plain record; who reads them is no business of the trainer."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Base of all events. `step` counts the updates made so far."""

    step: int

    def to_dict(self) -> dict[str, Any]:
        """The record with its `event` name first."""
        return {"event": type(self).__name__.lower(), **asdict(self)}


@dataclass(frozen=True)
class Started(Event):
    """Training begins, or goes on after a resume (the event file keeps the first)."""

    run: str
    """The run's name."""
    model: str
    parameters: int
    max_iters: int
    tokens_per_step: int
    train_tokens: int
    characters_per_token: float
    """Of the text that judges: turns its losses into bits per character."""
    train_characters_per_token: float
    device: str
    expected_first_loss: float | None
    """What the initialisation should cost in nats per token; None when it depends on the text."""
    rungs: dict[str, float]
    """Loss in nats per token on the validation text by rung: what a curve is held against."""

    @property
    def epochs_per_step(self) -> float:
        """The share of the training text that one step sees."""
        return self.tokens_per_step / max(1, self.train_tokens)


@dataclass(frozen=True)
class Notice(Event):
    """One line that a person should know."""

    message: str


@dataclass(frozen=True)
class Replanned(Event):
    """The number of steps was changed, so that the run ends with its time."""

    max_iters: int
    message: str


@dataclass(frozen=True)
class Stepped(Event):
    """One update was made."""

    loss: float
    """Of the batch, in nats per token, before the update."""
    learning_rate: float
    grad_norm: float
    """Before clipping."""
    seconds: float
    """Clock since training began in this process."""


@dataclass(frozen=True)
class Evaluated(Event):
    """The losses were estimated."""

    train: float
    val: float | None
    """None where the text is too short for a validation split."""
    dev: float | None
    """Over the dev split: what patience and best go by."""
    best: bool
    """Whether dev is the lowest so far."""
    below: tuple[str, ...]
    """The rungs that val is below."""
    seconds: float


@dataclass(frozen=True)
class Certified(Event):
    """How far a bigram's table is from the best there is, in nats per token, without an estimate."""

    gap: float
    """What the loss lies above the floor: leak plus misfit."""
    leak: float
    """What belief in successors that were never seen costs."""
    misfit: float
    """What a wrong division among seen successors costs."""
    floor: float
    """H(next | current) of the text as the sampler draws it."""
    difference: float
    """Mean absolute difference of the softmax from the counts' shares."""


@dataclass(frozen=True)
class Sampled(Event):
    """A text the model wrote."""

    text: str


@dataclass(frozen=True)
class Saved(Event):
    """Checkpoint `step` lies on the disk; told when the next one is due, or at the end."""

    path: str


@dataclass(frozen=True)
class Finished(Event):
    """Training is over: "done", "patience" or "interrupted"."""

    reason: str
    seconds: float
    signal: str | None = None
    """The name of the signal that interrupted, as SIGTERM; None where none did."""


@dataclass(frozen=True)
class Failed(Event):
    """Training could not go on; the newest checkpoint is whole."""

    message: str
