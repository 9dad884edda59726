"""One training step on a copy of the weights: a gradient in closed form, and who moved how far.

Shapes: T positions, n = T - 1 pairs of a token and the next, V vocabulary.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from clearhead import registry
from clearhead.config import TrainConfig
from clearhead.evaluation.table import aligned
from clearhead.inspection.passage import Passage
from clearhead.inspection.trace import agreement
from clearhead.models.base import LanguageModel
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.optim.schedules import schedule
from clearhead.runs.checkpoint import restore_optimizer

RATE = 1.0
"""Of plain SGD on a bigram: before - rate * gradient = after can be checked by eye."""
SHOWN = 8
"""Columns of a row that are printed: what followed, then what the table believes most."""


@dataclass(frozen=True)
class Memory:
    """What an optimizer remembers at a step of a run."""

    step: int
    moments: Mapping[str, Tensor]
    """By "parameter name.key", as checkpoints keep them; {} for none."""


@dataclass(frozen=True)
class Cell:
    """One entry of the row that is shown."""

    token: str
    """The next token."""
    followed: int
    """How often it comes next in this text."""
    share: float
    before: float
    """Logit."""
    probability: float
    """Softmax of the row."""
    gradient: float
    """By autograd."""
    formula: float
    """share of the row among all pairs times (softmax - share of the next token)"""
    after: float
    """Logit after the step."""


@dataclass(frozen=True)
class BigramStep:
    """One step of plain SGD on a bigram's table."""

    token: str
    """Whose row is shown: the most frequent current token of the text."""
    seen: int
    """How often it is current."""
    pairs: int
    rate: float
    cells: tuple[Cell, ...]
    """(V,) what followed first, then by probability."""
    gradient_error: float
    """Largest difference of autograd's gradient from the formula, over the whole table."""
    update_error: float
    """Largest difference of what the step made from before - rate * gradient, over the whole table."""
    rows_moved: int
    loss_before: float
    loss_after: float

    def __str__(self) -> str:
        rows = [(f"{self.token} then", "followed", "share", "softmax", "gradient", "formula", "logit", "after", "")]
        for c in self.cells[:SHOWN]:
            shares = (f"{c.share:.3f}", f"{c.probability:.3f}", f"{c.gradient:+.4f}", f"{c.formula:+.4f}")
            rows.append((c.token, f"{c.followed}", *shares, f"{c.before:+.3f}", f"{c.after:+.3f}", ""))
        return "\n".join(
            [
                f"backward: the table's row of {self.token}, which is x in {self.seen} of {self.pairs} pairs x, y",
                *aligned(rows),
                "the table is the parameter, the targets are y; the gradient of the mean loss in this row is "
                f"{self.seen}/{self.pairs} * (softmax - share)",
                f"check: autograd and the formula differ by {self.gradient_error:.1e} at most over the whole table",
                f"SGD, rate {self.rate:g}: after = logit - {self.rate:g} * gradient (check: {self.update_error:.1e}); "
                f"{self.rows_moved} of {len(self.cells)} rows moved",
                f"loss on this text {self.loss_before:.4f} -> {self.loss_after:.4f} nats; the run's own table stays",
            ]
        )


@dataclass(frozen=True)
class Moved:
    """One tensor of a model in one step."""

    name: str
    shape: tuple[int, ...]
    weight: float
    """Norm before."""
    gradient: float
    """Norm, before clipping."""
    update: float
    """Norm of after - before."""
    ratio: float | None
    """update / weight; None where the weights were zero."""


@dataclass(frozen=True)
class GPTStep:
    """One step of the run's own optimizer."""

    optimizer: str
    """In words: which, with what memory, at which rate."""
    tensors: tuple[Moved, ...]
    gradient_norm: float
    """Of all gradients together, before clipping."""
    clipped: bool
    loss_before: float
    loss_after: float

    def __str__(self) -> str:
        rows = [("tensor", "shape", "|weight|", "|gradient|", "|update|", "update / weight", "")]
        for m in self.tensors:
            norms = (f"{m.weight:.3f}", f"{m.gradient:.2e}", f"{m.update:.2e}")
            ratio = "from zero" if m.ratio is None else f"{m.ratio:.2e}"
            rows.append((m.name, "x".join(map(str, m.shape)), *norms, ratio, ""))
        clipped = " (clipped)" if self.clipped else ""
        still = sum(not m.update for m in self.tensors)
        return "\n".join(
            [
                f"backward: one step on this text, {self.optimizer}",
                *aligned(rows),
                f"norms over a whole tensor; gradient of all together {self.gradient_norm:.3f}{clipped}; "
                f"{len(self.tensors) - still} of {len(self.tensors)} tensors moved",
                f"loss on this text {self.loss_before:.4f} -> {self.loss_after:.4f} nats; the run's own weights stay",
            ]
        )


def bigram_step(model: BigramLanguageModel, passage: Passage) -> BigramStep:
    """One step of SGD on the pairs of a text, in a copy of the table."""
    x, y = passage.idx[:, :-1], passage.idx[:, 1:]
    before = model.token_embedding_table.weight.detach().cpu().clone()
    copy = deepcopy(model).cpu().train()
    table = copy.token_embedding_table.weight
    optimizer = torch.optim.SGD([table], lr=RATE)
    loss = _loss(copy, x, y)
    loss.backward()
    assert table.grad is not None
    gradient = table.grad.clone()
    optimizer.step()
    counts, formula = _formula(before, x[0], y[0])
    row = int(counts.sum(1).argmax())
    return BigramStep(
        token=passage.names[row],
        seen=int(counts[row].sum()),
        pairs=x.shape[1],
        rate=RATE,
        cells=_cells(passage.names, counts[row], before[row], gradient[row], formula[row], table[row].detach()),
        gradient_error=agreement(gradient, formula, "the gradient of the table"),
        update_error=agreement(table.detach(), before - RATE * gradient, "the table after the step"),
        rows_moved=int((table.detach() != before).any(1).sum()),
        loss_before=loss.item(),
        loss_after=_loss(copy, x, y).item(),
    )


def _formula(table: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Counts (V, V) of pairs x, y (n,), and the gradient of their mean loss: (softmax - share) n(x) / n."""
    V = len(table)
    counts = torch.zeros(V, V, dtype=torch.double).index_put_(
        (x, y), torch.ones((), dtype=torch.double), accumulate=True
    )
    seen = counts.sum(1, keepdim=True)
    return counts, (table.double().softmax(-1) * seen - counts) / len(x)


def _cells(
    names: tuple[str, ...], counts: Tensor, before: Tensor, gradient: Tensor, formula: Tensor, after: Tensor
) -> tuple[Cell, ...]:
    probability = before.double().softmax(-1)
    order = torch.argsort(-(counts * 2 + probability)).tolist()  # what followed, then what is believed
    columns = (names, counts.int(), counts / counts.sum(), before, probability, gradient, formula, after)
    lists = [list(c) if isinstance(c, tuple) else c.tolist() for c in columns]
    return tuple(Cell(*(column[i] for column in lists)) for i in order)


def gpt_step(gpt: GPTLanguageModel, passage: Passage, train: TrainConfig, memory: Memory | None) -> GPTStep:
    """One step of a run's optimizer on a text, in a copy of the weights, without dropout."""
    x, y = (ids.to(gpt.device) for ids in (passage.idx[:, :-1], passage.idx[:, 1:]))
    copy = deepcopy(gpt).eval()
    optimizer = registry.resolve("optimizers", train.optimizer)(copy, train)
    words = _prepare(optimizer, copy, train, memory)
    before = {name: weight.detach().clone() for name, weight in copy.named_parameters()}
    loss = _loss(copy, x, y)
    loss.backward()
    gradients = {name: _norm(weight.grad) for name, weight in copy.named_parameters()}
    total = float(clip_grad_norm_(copy.parameters(), train.grad_clip or float("inf")))
    optimizer.step()
    return GPTStep(
        optimizer=words,
        tensors=tuple(_moved(name, before[name], weight, gradients[name]) for name, weight in copy.named_parameters()),
        gradient_norm=total,
        clipped=bool(train.grad_clip) and total > train.grad_clip,
        loss_before=loss.item(),
        loss_after=_loss(copy, x, y).item(),
    )


def _prepare(optimizer: torch.optim.Optimizer, copy: LanguageModel, train: TrainConfig, memory: Memory | None) -> str:
    """Give an optimizer what it remembered and the rate of its next step; in words."""
    if memory is None or not memory.moments:
        return (
            f"{train.optimizer} without memory (its moments are not at hand) at its peak rate {train.learning_rate:g}"
        )
    restore_optimizer(optimizer, copy, dict(memory.moments))
    factor = schedule(memory.step, train)
    for group in optimizer.param_groups:
        group["lr"] *= factor
    muon = f", Muon's {factor * train.muon_learning_rate:.2g}" if train.optimizer == "muon" else ""
    return f"{train.optimizer} with its memory of step {memory.step:,}, rate {factor * train.learning_rate:.2g}{muon}"


def _moved(name: str, before: Tensor, weight: Tensor, gradient: float) -> Moved:
    size, update = _norm(before), _norm(weight.detach() - before)
    return Moved(name, tuple(weight.shape), size, gradient, update, update / size if size else None)


def _norm(values: Tensor | None) -> float:
    return 0.0 if values is None else float(values.cpu().double().norm())


def _loss(model: LanguageModel, x: Tensor, y: Tensor) -> Tensor:
    """Mean loss () in nats per token."""
    return F.cross_entropy(model(x).logits[0], y[0])
