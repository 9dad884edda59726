"""The loop one can hold in the head: evaluate, save, step."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from clearhead import registry
from clearhead.config import RunConfig, SamplingConfig
from clearhead.data.tokens import TokenDataset
from clearhead.errors import DivergenceError
from clearhead.evaluation.loss import estimate_loss, split_loss
from clearhead.generation.text import stream_text
from clearhead.initialise import expected_first_loss
from clearhead.models.base import LanguageModel
from clearhead.optim.schedules import schedule
from clearhead.runs.checkpoint import (
    Checkpoint,
    optimizer_tensors,
    prune,
    restore_optimizer,
    save_checkpoint,
)
from clearhead.runs.directory import RunDirectory
from clearhead.runtime import Runtime, keep_memory, release_memory, stream_seed
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.budget import Budget
from clearhead.training.events import Evaluated, Event, Finished, Notice, Replanned, Sampled, Saved, Started, Stepped
from clearhead.training.parallel import micro_batches, prepare_forward

DEV_TOKENS = 1 << 16
"""Dev tokens looked at in each evaluation, at most."""
SAMPLE_TOKENS = 120
A_TRIFLE = 1e-3
"""Nats: less than this below a rung is not below it."""


@dataclass
class Progress:
    """All that a trainer knows beyond weights and moments: what a checkpoint keeps of it."""

    step: int = 0
    evaluated_at: int = -1
    best_dev: float = math.inf
    evaluations_without_gain: int = 0
    seconds: float = 0.0
    """Training time of earlier processes."""


@dataclass(frozen=True)
class Made:
    """An update that was made, and how to have its loss (nats per token) and gradient norm."""

    step: int
    learning_rate: float
    figures: Callable[[], list[float]]


@dataclass
class Trainer:
    """Trains `model` on `data` into `run`, yielding events. Nothing is printed here."""

    config: RunConfig
    model: LanguageModel
    tokenizer: Tokenizer
    data: TokenDataset
    run: RunDirectory
    runtime: Runtime
    rungs: dict[str, float] = field(default_factory=dict)
    """Validation loss by counted rung, in nats per token."""
    progress: Progress = field(default_factory=Progress)
    budget: Budget | None = None
    """The time that the steps were planned for."""

    def __post_init__(self) -> None:
        keep_memory()
        self.train = self.config.train
        self.model.to(self.runtime.device, self.runtime.dtype)
        self.data.place(self.runtime.device, self.runtime.room)
        self.optimizer = registry.resolve("optimizers", self.train.optimizer)(self.model, self.train)
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.stop_requested = False
        self._unread: deque[Made] = deque()
        self._begun = time.perf_counter()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, whose model must be `self.model`."""
        restore_optimizer(self.optimizer, self.model, checkpoint.optimizer)
        self.progress = Progress(**checkpoint.state)

    def request_stop(self) -> None:
        """Save and finish after the step that is being made."""
        self.stop_requested = True

    def events(self) -> Iterator[Event]:
        """Train to `max_iters`, to the end of patience or until a stop is asked for."""
        self._begun = time.perf_counter()
        progress = self.progress
        yield self._started()
        self._forward, trouble = prepare_forward(self.model, self.train, self.runtime, self._probe())
        if trouble:
            yield Notice(progress.step, trouble)
        while True:
            reason = "interrupted" if self.stop_requested else self._ended()
            if not self.stop_requested and progress.evaluated_at != progress.step and self._evaluation_due():
                yield from self._evaluate()
                reason = self._ended()
            if reason or progress.step % self.train.save_interval == 0:
                yield from self._save()
            if reason:
                release_memory()
                yield Finished(progress.step, reason, self._seconds())
                return
            self._unread.append(self.step())
            yield from self._read(self.runtime.lag)
            if self.budget is not None and progress.step == self.budget.replan_at:
                yield from self._replan(self.budget)

    def step(self) -> Made:
        """One update: batch, forward, backward, clip, update.

        DivergenceError where the loss or the gradient is not finite: before the update, or where figures lag
        when they are read, which is before anything is saved.
        """
        step, train = self.progress.step, self.train
        factor = schedule(step, train)
        for group, base_rate in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = factor * base_rate
        loss = torch.zeros((), device=self.runtime.device, dtype=self.runtime.dtype)
        for micro, (x, y) in enumerate(micro_batches(*self._training_batch(), train.accumulation)):
            if train.dropout:
                torch.manual_seed(stream_seed(train.seed, "dropout", step, micro, 0))
            with self.runtime.autocast():
                _, micro_loss = self._forward(x, y)
            assert micro_loss is not None
            (micro_loss / train.accumulation).backward()
            loss += micro_loss.detach() / train.accumulation
        norm = clip_grad_norm_(self.model.parameters(), train.grad_clip or math.inf)
        made = Made(step + 1, factor * train.learning_rate, self.runtime.fetch(torch.stack([loss, norm])))
        if not self.runtime.lag:
            self._check_finite(made)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        return made

    def _read(self, leave: int = 0) -> Iterator[Stepped]:
        """What was made, in order, but for the last few."""
        while len(self._unread) > leave:
            made = self._unread.popleft()
            loss, norm = self._check_finite(made)
            yield Stepped(made.step, loss, made.learning_rate, norm, self._seconds())

    def _check_finite(self, made: Made) -> list[float]:
        """The loss and the gradient norm of an update; DivergenceError where one of them is no number."""
        loss, norm = figures = made.figures()
        if math.isfinite(loss) and math.isfinite(norm):
            return figures
        self.optimizer.zero_grad(set_to_none=True)
        what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {norm}"
        saved = self.run.pointer("latest")
        when = "a save" if self.runtime.lag else "the update"
        good = f"the last good step is {saved}" if saved is not None else "nothing was saved yet"
        raise DivergenceError(
            f"{what} at step {made.step - 1}: stopped before {when}, {good}; "
            f"try --learning_rate {self.train.learning_rate / 3:.2g}"
        )

    @property
    def _dev_begins(self) -> int:
        """The step from which dev is learned from, when there is enough of it to fill a row; else the end."""
        fills = len(self.data.ids("dev")) > self.train.block_size
        return max(0, self.train.max_iters - self.train.dev_iters * fills)

    def _training_batch(self) -> tuple[Tensor, Tensor]:
        """x, y (B, T) of this step; near the end of a run half of the rows are from dev."""
        x, y = self._batch("train", self.progress.step)
        if self.progress.step < self._dev_begins:
            return x, y
        dev_x, dev_y = self._batch("dev", self.progress.step)
        kept = self.train.batch_size - self.train.batch_size // 2
        return torch.cat([x[:kept], dev_x[kept:]]), torch.cat([y[:kept], dev_y[kept:]])

    def _batch(self, split: str, number: int, stream: str = "train") -> tuple[Tensor, Tensor]:
        x, y = self.data.get_batch(
            split,
            number,
            batch_size=self.train.batch_size,
            block_size=min(self.train.block_size, len(self.data.ids(split)) - 1),
            seed=self.train.seed,
            stream=stream,
        )
        return x.to(self.runtime.device), y.to(self.runtime.device)

    def _probe(self) -> tuple[Tensor, Tensor]:
        return micro_batches(*self._batch("train", 0), self.train.accumulation)[0]

    def _replan(self, budget: Budget) -> Iterator[Event]:
        """Fit the steps that are left to the time that is left, now that their pace is known."""
        yield from self._read()
        step, before = self.progress.step, self.train.max_iters
        train = budget.revised(self.train, step, self._seconds() / step)
        if train.max_iters == before:
            return
        self.train, self.config = train, replace(self.config, train=train)
        self.run.replace_config(self.config)
        pace = f"{self._seconds() / step * 1e3:.0f} ms a step, evaluations included"
        message = f"planned anew: {train.max_iters:,} steps instead of {before:,} ({pace})"
        yield Replanned(step, train.max_iters, message)

    def _evaluation_due(self) -> bool:
        step = self.progress.step
        deciding = self.train.dev_iters > 0 and step == self._dev_begins
        return step % self.train.eval_interval == 0 or deciding or self._ended() is not None

    def _ended(self) -> str | None:
        if self.progress.step >= self.train.max_iters:
            return "done"
        patience = self.train.patience
        return "patience" if patience and self.progress.evaluations_without_gain >= patience else None

    def _evaluate(self) -> Iterator[Event]:
        yield from self._read()
        progress = self.progress
        splits = [split for split in ("train", "val") if len(self.data.ids(split)) > 1]
        losses = estimate_loss(
            self.model,
            lambda split, k: self._batch(split, k, stream="estimate"),
            self.train.eval_iters,
            splits,
            self.runtime,
        )
        dev = None
        if len(self.data.ids("dev")) > 1 and progress.step <= self._dev_begins:
            dev = split_loss(self.model, self.data, "dev", self.runtime, DEV_TOKENS).nats_per_token
        best = dev is not None and dev < progress.best_dev
        progress.evaluated_at = progress.step
        if dev is not None:
            progress.best_dev = min(dev, progress.best_dev)
            progress.evaluations_without_gain = 0 if best else progress.evaluations_without_gain + 1
        val = losses.get("val")
        below = tuple(name for name, nats in self.rungs.items() if val is not None and val < nats - A_TRIFLE)
        yield Evaluated(progress.step, losses["train"], val, dev, best, below, self._seconds())
        sampling = SamplingConfig(max_new_tokens=SAMPLE_TOKENS, seed=self.train.seed)
        yield Sampled(progress.step, "".join(stream_text(self.model, self.tokenizer, "", sampling)))
        if best and progress.step:
            yield from self._save()
            self.run.point("best", progress.step)

    def _save(self) -> Iterator[Event]:
        yield from self._read()
        progress = self.progress
        untouched = not progress.step and not self.stop_requested
        if untouched or self.run.pointer("latest") == progress.step:
            return
        state = {**vars(progress), "seconds": self._seconds()}
        path = save_checkpoint(
            self.run,
            progress.step,
            self.model,
            state=state,
            optimizer=optimizer_tensors(self.optimizer, self.model),
        )
        prune(self.run, self.train.keep)
        yield Saved(progress.step, path.name)

    def _seconds(self) -> float:
        return self.progress.seconds + time.perf_counter() - self._begun

    def _started(self) -> Started:
        train_tokens = len(self.data.ids("train"))
        return Started(
            step=self.progress.step,
            run=str(self.run.path),
            model=self.model.kind,
            parameters=self.model.num_parameters(),
            max_iters=self.train.max_iters,
            tokens_per_step=self.train.batch_size * self.train.block_size,
            train_tokens=train_tokens,
            characters_per_token=self.data.meta.characters["train"] / max(1, train_tokens),
            device=self.runtime.device_name,
            expected_first_loss=expected_first_loss(self.model, self.config.init) if self.config.init else None,
            rungs=self.rungs,
        )
