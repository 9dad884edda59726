"""The loop one can hold in the head: evaluate, save, step."""

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.data.tokens import TokenDataset
from clearhead.errors import DivergenceError, OutOfMemoryError
from clearhead.models.base import LanguageModel
from clearhead.optim.schedules import fall_begins, schedule
from clearhead.runs.checkpoint import Checkpoint, restore_optimizer
from clearhead.runs.directory import RunDirectory
from clearhead.runs.writer import CheckpointWriter, NoWriter, ShardWriter
from clearhead.runtime import Runtime, keep_memory, release_memory, stream_seed
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.budget import Budget, replanned
from clearhead.training.certifying import Certifier
from clearhead.training.events import Evaluated, Event, Finished, Notice, Sampled, Stepped
from clearhead.training.feed import Feed
from clearhead.training.judging import Judge
from clearhead.training.memory import memory_bounded
from clearhead.training.parallel import Forward, Ranks, accumulating, compile_forward, micro_batches, wants_compile
from clearhead.training.progress import Made, Progress, Saver
from clearhead.training.sharding import clip_gradients, shard_model, shards


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
    budget: Budget | None = None
    """The time that the steps were planned for."""
    first_plan: int | None = None
    """How many steps the plan had that the run began with; None where that is not known to have changed."""

    def __post_init__(self) -> None:
        self.train = self.config.train
        # What will be divided goes to the device in parts, and its gathered blocks back to the system.
        release_memory() if shards(self.train) else keep_memory()
        self.model.to("cpu" if shards(self.train) else self.runtime.device, self.runtime.dtype)
        self.data.place(self.runtime.device, self.runtime.room)
        self.optimizer = registry.resolve("optimizers", self.train.optimizer)(self.model, self.train)
        self.feed = Feed(self.data, self.train, self.runtime)
        self.ranks = self.feed.ranks
        self.judge = Judge(self.model, self.tokenizer, self.feed, self.rungs)
        self.certifier = Certifier(self.feed, self.model)
        self.saver = Saver(CheckpointWriter(self.run, self.train.keep), self.model, self.optimizer)
        self.progress = Progress(micro_batches=self.train.accumulation, threads=self.runtime.threads)
        self.interruptible = self.stop_requested = False
        self._unread: deque[Made] = deque()
        self._forward: Forward = self.model
        self._begun = time.perf_counter()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, whose model must be `self.model`: as many threads, the same parts of a batch."""
        if not shards(self.train):  # else each rank reads its part when they have met
            restore_optimizer(self.optimizer, self.model, checkpoint.optimizer)
        self.progress = Progress.of(checkpoint.state, checkpoint.step)
        self.saver.saved = replace(self.progress) if self.run.checkpoint(checkpoint.step).exists() else None
        self.runtime.use_threads(self.progress.threads)

    def join(self, ranks: Ranks) -> None:
        """Train as one of several ranks: a part of every batch, the gradients of all; the first alone writes."""
        self.ranks = ranks
        self.feed = self.judge.feed = self.certifier.feed = replace(self.feed, ranks=ranks)
        if shards(self.train):
            shard_model(self.model, ranks, self.runtime)
            self.optimizer = registry.resolve("optimizers", self.train.optimizer)(self.model, self.train)
            self.saver.optimizer = self.optimizer
            self.saver.writer = ShardWriter(self.run, self.train.keep)
        elif not ranks.first:
            self.saver.writer = NoWriter(self.run, self.train.keep)

    def request_stop(self) -> None:
        """Save and finish after the step that is being made."""
        self.stop_requested = True

    def events(self) -> Iterator[Event]:
        """Train to `max_iters`, to the end of patience or until a stop is asked for."""
        self._begun = time.perf_counter()
        self.interruptible = True
        progress = self.progress
        progress.ranks = self.ranks.size
        yield self.judge.started(self.run.name, self.config.init, progress.step)
        yield from self._prepare()
        while True:
            reason = self._ended()
            if reason != "interrupted" and progress.evaluated_at != progress.step and self._evaluation_due(reason):
                yield from self._evaluate()
                reason = self._ended()
            yield from self._save_where_due(reason)
            if reason:
                break
            before = progress.step
            yield from self._advance()
            if progress.step > before:
                yield from self._plan_anew()
        if reason != "interrupted":
            yield from self.saver.settle(progress)
        self.saver.writer.wait()
        self.interruptible = False
        if self.ranks.any(self.stop_requested):  # also one that came after the last step, while that was being saved
            reason = "interrupted"
        self._forward = self.model
        self.ranks.leave()
        release_memory()
        yield Finished(progress.step, reason, self._seconds())

    def step(self) -> Made:
        """One update: batch, forward, backward, clip, update. See `gradients` and `update` for what can go wrong."""
        return self.update(self.gradients())

    def gradients(self) -> Tensor:
        """The loss () of this step's batch over all ranks, and its gradients in the weights.

        OutOfMemoryError where the parts of the batch are still too large.
        """
        progress, train = self.progress, self.train
        loss = torch.zeros((), device=self.runtime.device, dtype=self.runtime.dtype)
        with memory_bounded(self._advice):
            count = self.feed.parts(progress.micro_batches)
            parts = list(micro_batches(*self.feed.training(progress.step), count, train.batch_size))
            for micro, (x, y, share) in enumerate(parts, 1):
                if train.dropout:
                    torch.manual_seed(stream_seed(train.seed, "dropout", progress.step, micro - 1, self.ranks.rank))
                with accumulating(self._forward, micro < len(parts)):
                    with self.runtime.autocast():
                        _, micro_loss = self._forward(x, y)
                    assert micro_loss is not None
                    (micro_loss * (share * self.ranks.size)).backward()  # the ranks' mean is then the batch's
                loss += micro_loss.detach() * share
        return self.ranks.sum(loss)

    def update(self, loss: Tensor) -> Made:
        """Clip the gradients and move the weights.

        DivergenceError where the loss or the gradient is not finite: before the update, or where figures lag when
        they are read, which is before anything is saved.
        """
        step, train = self.progress.step, self.train
        factor = schedule(step, train)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group.setdefault("peak_lr", group["lr"])
        norm = clip_gradients(self.model, train.grad_clip or math.inf, self.ranks)
        made = Made(step + 1, factor * train.learning_rate, self.runtime.fetch(torch.stack([loss, norm])))
        if not self.runtime.lag:
            self._check_finite(made)
        with memory_bounded(self._advice):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        return made

    def _prepare(self) -> Iterator[Event]:
        """Compile, where that was decided or is decided now."""
        progress = self.progress
        if progress.compiled is None:
            progress.compiled = wants_compile(self.train, self.runtime)
        count = self.feed.parts(progress.micro_batches)
        x, y, _ = next(micro_batches(*self.feed.batch("train", 0), count, self.train.batch_size))
        if progress.compiled:
            self._forward, trouble = compile_forward(self.model, self.runtime, (x, y))
            if trouble:
                progress.compiled = False
                yield Notice(progress.step, trouble)
        with memory_bounded(self._advice):
            self._forward = self.ranks.synchronised(self._forward, self.runtime, (x, y))

    def _advance(self) -> Iterator[Event]:
        """One step, or none where memory ran out: then the next try takes a batch in smaller parts."""
        if self.progress.step == fall_begins(self.train):  # dev gains when the rate falls
            self.progress.evaluations_without_gain = 0
        try:
            loss = self.gradients()
        except OutOfMemoryError:
            self.optimizer.zero_grad(set_to_none=True)
            self.runtime.hand_back()
            if self.ranks.size > 1 or self.progress.micro_batches >= self.train.batch_size:
                raise
            # It belongs to the step that is being made: a resume before it tells it again.
            yield Notice(self.progress.step + 1, self.progress.halve_parts(self.train.batch_size))
            return
        self._unread.append(self.update(loss))
        yield from self._read(self.runtime.lag)
        self.saver.writer.check()

    def _advice(self) -> str:
        return f"{self.saver.kept()}; try a smaller --block_size or --n_embd, and look with: clearhead doctor --run"

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
        self.saver.writer.wait()
        what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {norm}"
        raise self._diverged(what, made.step - 1, "a save" if self.runtime.lag else "the update")

    def _diverged(self, what: str, step: int, before: str) -> DivergenceError:
        return DivergenceError(
            f"{what} at step {step}: stopped before {before}, {self.saver.kept()}; "
            f"try --learning_rate {self.train.learning_rate / 3:.2g}"
        )

    def _plan_anew(self) -> Iterator[Event]:
        """Change the plan where that is due; tell it again where a run was cut short after it was changed."""
        if self.budget is not None and self.progress.step == self.budget.replan_at:
            yield from self._replan(self.budget)
        elif self.first_plan and self.progress.step == fall_begins(self.train):
            yield replanned(self.progress.step, self.first_plan, self.train.max_iters, self._seconds())

    def _replan(self, budget: Budget) -> Iterator[Event]:
        """Fit the steps that are left to the time that is left, now that their pace is known."""
        yield from self._read()
        step, before = self.progress.step, self.train.max_iters
        train = self.ranks.share(budget.revised(self.train, step, self._seconds() / step))
        if train.max_iters == before:
            return
        self.train, self.config = train, replace(self.config, train=train)
        self.feed = self.judge.feed = replace(self.feed, train=train)
        if self.ranks.first:
            self.run.replace_config(self.config)
        yield replanned(step, before, train.max_iters, self._seconds())

    def _evaluation_due(self, reason: str | None) -> bool:
        step = self.progress.step
        deciding = self.train.dev_iters > 0 and step == self.feed.dev_begins
        return step % self.train.eval_interval == 0 or deciding or reason is not None

    def _ended(self) -> str | None:
        if self.ranks.any(self.stop_requested):
            return "interrupted"
        if self.progress.step >= self.train.max_iters:
            return "done"
        step, patience = self.progress.step, self.train.patience
        lost = patience and self.progress.evaluations_without_gain >= patience and step != fall_begins(self.train)
        return "patience" if lost else None

    def _evaluate(self) -> Iterator[Event]:
        yield from self._read()
        self._check_weights()
        progress = self.progress
        with memory_bounded(self._advice):
            losses, dev = self.judge.losses(progress.step, progress.micro_batches)
        best = dev is not None and dev < progress.best_dev
        progress.evaluated_at = progress.step
        if dev is not None:
            progress.best_dev = min(dev, progress.best_dev)
            progress.evaluations_without_gain = 0 if best else progress.evaluations_without_gain + 1
        val = losses.get("val")
        below = self.judge.rungs_above(val)
        yield Evaluated(progress.step, losses["train"], val, dev, best, below, self._seconds())
        yield from self.certifier.events(progress.step)
        yield Sampled(progress.step, self.judge.sample())
        if best and progress.step:
            progress.best_step = progress.step
            yield from self._save(scheduled=True)

    def _save_where_due(self, reason: str | None) -> Iterator[Event]:
        scheduled = self.saver.due(self.progress.step, reason, self.train, self.ranks)
        if scheduled is not None:
            yield from self._read()
            yield from self._save(scheduled=scheduled)

    def _save(self, *, scheduled: bool) -> Iterator[Event]:
        if self.saver.saved != self.progress:
            self._check_weights()
        yield from self.saver.save(self.progress, self._seconds(), scheduled=scheduled)

    def _check_weights(self) -> None:
        """DivergenceError where an update of finite figures has left weights or moments that are no numbers."""
        if self.ranks.any(not self.saver.finite()):
            self.saver.writer.wait()
            raise self._diverged("weights that are no numbers", self.progress.step, "a save")

    def _seconds(self) -> float:
        return self.progress.seconds + time.perf_counter() - self._begun
