"""One initialisation on the bench: what it costs, how it scales, what a few steps make of it.

Shapes: B rows, T positions, n steps.
"""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from clearhead import registry
from clearhead.config import RunConfig, TrainConfig
from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.ladder import score_split
from clearhead.evaluation.loss import evaluating
from clearhead.initialise import expected_first_loss
from clearhead.inspection.tables import Floats
from clearhead.models.base import LanguageModel, cross_entropy
from clearhead.models.gpt import GPTLanguageModel
from clearhead.optim.schedules import schedule
from clearhead.runtime import Runtime, stream_seed
from clearhead.training.feed import Feed

VAL_TOKENS = 2_048
"""Validation tokens that every start is measured on, at most."""
SCALE_TOKENS = 256
"""Validation tokens on which the scales of layers are measured, about; each has n_embd numbers in the stream."""


@dataclass(frozen=True)
class Layer:
    """The residual stream at one place."""

    place: str
    activation: float
    """Root mean square of its coordinates."""
    gradient: float
    """Root mean square of the loss's gradient in them, times the positions: of the loss of a position."""


@dataclass(frozen=True)
class Start:
    """One initialisation: where it begins, and what a short run makes of it."""

    init: str
    tied: bool
    scaled_embedding: bool
    own: bool
    """The run's own."""
    predicted: float | None
    """Nats per token by formula; None for counts."""
    measured: float
    logit_spread: float
    """Standard deviation of the logits of a position, mean over positions."""
    token_to_position: float | None
    """Root mean square of token embeddings, as they enter the stream, over that of position embeddings."""
    layers: tuple[Layer, ...]
    """Before the first step."""
    layers_after: tuple[Layer, ...]
    first_update: float | None
    """|change| / |weight| of the first step: the median over matrices that are not zero."""
    last_update: float | None
    losses: Floats
    """(n,) nats per token of each step's batch, before its update."""
    seconds: float
    """Of all steps."""
    final: float
    """Nats per token on validation text after the last step."""
    steps_to_target: int | None
    """Updates until a batch's loss was at or below the target; None where none was."""
    seconds_to_target: float | None

    @property
    def name(self) -> str:
        """The initialisation and what differs."""
        return ", ".join([self.init, *["tied"] * self.tied, *["scaled embedding"] * self.scaled_embedding])


@dataclass(frozen=True)
class Lab:
    """What all starts share: the batches, the text that judges, the target."""

    train: TrainConfig
    data: TokenDataset
    runtime: Runtime
    target: float

    @cached_property
    def judged(self) -> tuple[Tensor, Tensor]:
        """x, y (B, T): the first windows of validation text, without overlap."""
        T = self.train.block_size
        x, y = next(self.data.windows(score_split(self.data), T, max(1, VAL_TOKENS // T)))
        return x.to(self.runtime.device), y.to(self.runtime.device)

    def start(self, config: RunConfig, model: LanguageModel, *, own: bool) -> Start:
        """Measure a fresh model, train it for the steps, measure it again."""
        model.to(self.runtime.device, self.runtime.dtype).eval()
        assert config.init is not None
        predicted, measured, ratio = (
            expected_first_loss(model, config.init),
            self._judge(model),
            _token_to_position(model),
        )
        spread, before = self._scales(model)
        losses, clocks, updates = self._steps(model)
        reached = next((step for step, loss in enumerate(losses) if loss <= self.target), None)
        return Start(
            init=config.init,
            tied=config.trained == "gpt" and config.architecture.tie_weights,
            scaled_embedding=config.trained == "gpt" and config.architecture.scale_embedding,
            own=own,
            predicted=predicted,
            measured=measured,
            logit_spread=spread,
            token_to_position=ratio,
            layers=before,
            layers_after=self._scales(model)[1],
            first_update=updates[0],
            last_update=updates[-1],
            losses=np.array(losses),
            seconds=clocks[-1],
            final=self._judge(model),
            steps_to_target=reached,
            seconds_to_target=None if reached is None else ([0.0, *clocks])[reached],
        )

    def _steps(self, model: LanguageModel) -> tuple[list[float], list[float], list[float | None]]:
        """Loss of each batch, seconds after each update, and the update-to-weight ratio of the first and last."""
        train, feed = self.train, Feed(self.data, self.train, self.runtime)
        model.train()
        optimizer = registry.resolve("optimizers", train.optimizer)(model, train)
        rates = [group["lr"] for group in optimizer.param_groups]
        losses, clocks, updates, begun = [], [], [], time.perf_counter()
        for step in range(train.max_iters):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = schedule(step, train) * rate
            if train.dropout:
                torch.manual_seed(stream_seed(train.seed, "dropout", step, 0, 0))
            with self.runtime.autocast():
                _, loss = model(*feed.training(step))
            assert loss is not None
            loss.backward()
            clip_grad_norm_(model.parameters(), train.grad_clip or math.inf)
            watched = _matrices(model) if step in (0, train.max_iters - 1) else None
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            clocks.append(time.perf_counter() - begun)
            if watched is not None:
                updates.append(_update_ratio(watched, model))
        model.eval()
        return losses, clocks, updates

    def _judge(self, model: LanguageModel) -> float:
        x, y = self.judged
        with evaluating(model):
            _, loss = model(x, y)
        assert loss is not None
        return float(loss)

    def _scales(self, model: LanguageModel) -> tuple[float, tuple[Layer, ...]]:
        """On a few windows: the spread of the logits, and the stream and its gradient after every layer."""
        x, y = self._rows
        if not isinstance(model, GPTLanguageModel):
            return _spread(model(x).logits), ()
        streams = [model.embed(x)]
        for block in model.blocks:
            streams.append(block(streams[-1]))
        logits = model.lm_head(model.ln_f(streams[-1]))
        gradients = torch.autograd.grad(cross_entropy(logits, y), streams)
        places = ["embedding", *(f"block {i}" for i in range(len(model.blocks)))]
        return _spread(logits), tuple(
            Layer(place, _rms(stream), _rms(gradient) * y.numel())
            for place, stream, gradient in zip(places, streams, gradients, strict=True)
        )

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        """x, y (B, T): the same few windows for every start."""
        rows = max(1, SCALE_TOKENS // self.train.block_size)
        feed = Feed(self.data, replace(self.train, batch_size=rows), self.runtime)
        return feed.batch(score_split(self.data), 0, stream="estimate")


def _spread(logits: Tensor) -> float:
    return float(logits.detach().float().std(-1).mean())


def _token_to_position(model: LanguageModel) -> float | None:
    if not isinstance(model, GPTLanguageModel) or model.config.positions != "learned":
        return None
    scale = model.config.n_embd**0.5 if model.config.scale_embedding else 1.0
    return scale * _rms(model.token_embedding_table.weight) / _rms(model.position_embedding_table.weight)


def _matrices(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters() if p.dim() >= 2]


def _update_ratio(before: Sequence[Tensor], model: nn.Module) -> float | None:
    """The median of |change| / |weight| over the matrices that were not zero; None where all were."""
    after = [p.detach() for p in model.parameters() if p.dim() >= 2]
    ratios = [float((b - a).norm() / b.norm()) for b, a in zip(before, after, strict=True) if float(b.norm()) > 0]
    return statistics.median(ratios) if ratios else None


def _rms(x: Tensor) -> float:
    return float(x.detach().float().square().mean().sqrt())
