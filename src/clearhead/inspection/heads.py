"""What each head does on average, and what it is worth: habits and ablations, measured on windows of a text.

Habits are means of attention weights: on the token before (the previous-token heads of Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"), on earlier copies of the current token (duplicate-token heads,
Wang et al. 2022, "Interpretability in the Wild"), and on what followed earlier copies (induction heads: Olsson et al.
2022, "In-context Learning and Induction Heads", whose prefix matching score is this on repeated random tokens; here
it is measured on real text). Few tokens fill a window of characters many times over, so attention spread evenly over
the past scores as well: that is the chance beside which the habits stand.

Shapes: B windows, T positions, nh heads.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.ladder import score_split
from clearhead.evaluation.loss import evaluating, tokens_per_call
from clearhead.inspection.trace import BlockTrace, Trace, trace
from clearhead.models.gpt import GPTLanguageModel

TOKENS = 2_048
"""Of validation text that heads are measured on, about."""
LONGEST = 256
"""Tokens of a window, at most: attention grows with their square."""
FEWEST = 8
"""Windows, at least: a standard error wants several."""
HABITS = ("previous", "duplicate", "induction")


@dataclass(frozen=True)
class Windows:
    """The text that heads are measured on."""

    x: Tensor
    """(B, T)"""
    y: Tensor
    """(B, T): the same one token later."""
    words: str
    """Which text this is."""


@dataclass(frozen=True)
class HeadScore:
    """One head over all positions of all windows."""

    layer: int
    head: int
    entropy: float
    """Bits, mean over positions."""
    entropy_unscaled: float
    """Bits, without the division by sqrt(head size)."""
    distance: float
    """Tokens back, mean."""
    previous: float
    """Mean weight on the token before; positions from 1 on."""
    duplicate: float | None
    """Mean weight on earlier copies of the current token; where there are any. None where there are none."""
    induction: float | None
    """Mean weight on the tokens that followed earlier copies; where there are any."""
    zero: float
    """Change of the loss in nats per token when what the head adds is left out."""
    zero_error: float | None
    """Standard error over windows; None for one window."""
    mean: float
    """Change of the loss when what the head adds is replaced by its mean over all positions of these windows."""
    mean_error: float | None


@dataclass(frozen=True)
class HeadScores:
    """All heads, what matters most first."""

    measured_on: str
    loss: float
    """Nats per token with all heads."""
    heads: tuple[HeadScore, ...]
    """In the order of what leaving them out costs."""
    chance: dict[str, float | None]
    """The habits of attention that is spread evenly over the past and the present."""


def measured_windows(gpt: GPTLanguageModel, data: TokenDataset) -> Windows:
    """Windows spread evenly over the validation text (over the training text where there is none)."""
    split = score_split(data)
    ids, T = data.ids(split), data.fits(min(gpt.config.block_size, LONGEST), split)
    count = min(max(FEWEST, TOKENS // T), (len(ids) - 1) // T)
    starts = np.linspace(0, len(ids) - 1 - T, count).astype(np.int64)
    rows = torch.from_numpy(np.asarray(ids[starts[:, None] + np.arange(T + 1)], dtype=np.int64)).to(gpt.device)
    said = "validation" if split == "val" else "training"
    return Windows(rows[:, :-1], rows[:, 1:], f"{count} windows of {T} tokens, spread evenly over the {said} text")


def head_scores(gpt: GPTLanguageModel, windows: Windows) -> HeadScores:
    """Measure every head."""
    seen = trace(gpt, windows.x)
    marks: dict[str, Tensor] = dict(zip(HABITS, _marks(seen.idx), strict=True))
    with evaluating(gpt):
        before = _losses(seen.logits, windows.y)
        found = [score for block in seen.blocks for score in _scores(seen, block, marks, windows.y, before)]
    T = windows.x.shape[1]
    even = torch.ones(T, T, device=gpt.device).tril() / torch.arange(1, T + 1, device=gpt.device)[:, None]
    chance = {name: _on(even.expand(len(windows.x), 1, T, T), mark)[0] for name, mark in marks.items()}
    ordered = tuple(sorted(found, key=lambda score: -score.zero))
    return HeadScores(windows.words, float(before.mean()), ordered, chance)


def entropy(wei: Tensor) -> Tensor:
    """Bits (...,) of weights (..., T) that sum to 1."""
    return -torch.xlogy(wei, wei).sum(-1) / math.log(2)


def unscaled(block: BlockTrace) -> Tensor:
    """(B, nh, T, T): the weights that the softmax would give without the division by sqrt(hs), if the model has one."""
    return F.softmax(block.scores / block.block.sa.scale, dim=-1)


def distances(wei: Tensor) -> Tensor:
    """Tokens back (..., T), the mean under weights (..., T, T)."""
    t = torch.arange(wei.shape[-1], device=wei.device, dtype=wei.dtype)
    return t - wei @ t


def _marks(idx: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T, T) bool each: the token before, earlier copies, what followed earlier copies (itself left out)."""
    B, T = idx.shape
    past = torch.ones(T, T, dtype=torch.bool, device=idx.device).tril(-1)
    copies = idx[:, :, None] == idx[:, None, :]  # (B, T, T)
    after = F.pad(copies[:, :, :-1], (1, 0), value=False)
    previous = torch.eye(T, dtype=torch.bool, device=idx.device).roll(-1, 1) & past
    return previous.expand(B, T, T), copies & past, after & past


def _on(wei: Tensor, mark: Tensor) -> list[float | None]:
    """Per head the mean weight (B, nh, T, T) on what is marked (B, T, T), over positions where anything is."""
    there = mark.any(-1)  # (B, T)
    count = int(there.sum())
    if not count:
        return [None] * wei.shape[1]
    return ((wei * mark[:, None]).sum((0, 2, 3)) / count).tolist()


def _scores(seen: Trace, block: BlockTrace, marks: dict[str, Tensor], y: Tensor, before: Tensor) -> Iterator[HeadScore]:
    habits = {name: _on(block.wei, mark) for name, mark in marks.items()}
    bits, loose = (entropy(wei).mean((0, 2)).tolist() for wei in (block.wei, unscaled(block)))
    back = distances(block.wei).mean((0, 2)).tolist()
    for head in range(block.wei.shape[1]):
        worth = _worth(seen, block.layer, head, y, before)
        own = {name: values[head] for name, values in habits.items()}
        yield HeadScore(
            block.layer,
            head,
            entropy=bits[head],
            entropy_unscaled=loose[head],
            distance=back[head],
            previous=own["previous"] or 0.0,
            duplicate=own["duplicate"],
            induction=own["induction"],
            zero=worth["zero"][0],
            zero_error=worth["zero"][1],
            mean=worth["mean"][0],
            mean_error=worth["mean"][1],
        )


def ablated(seen: Trace, layer: int, head: int, kind: str = "zero") -> Tensor:
    """Logits (B, T, V) of the model when one head adds nothing, or (kind "mean") the same everywhere.

    The mean is over all positions of all rows of the trace. What other heads of the layer add stays as it was; all that
    comes later is computed anew.
    """
    with evaluating(seen.model):
        return _onwards(seen, layer, _without(seen, layer, head)[kind])


def bits_saved(seen: Trace, layer: int, head: int) -> Tensor:
    """(T - 1,) bits that each next token of the text would cost more if a head added nothing; one row traced."""
    targets = seen.idx[0, 1:]
    whole, less = (
        -logits[0, :-1].cpu().double().log_softmax(-1).gather(-1, targets.cpu()[:, None])[:, 0]
        for logits in (seen.logits, ablated(seen, layer, head))
    )
    return (less - whole) / math.log(2)


def _without(seen: Trace, layer: int, head: int) -> dict[str, Tensor]:
    """The stream (B, T, C) behind a layer's attention when one head adds nothing, or its mean, by kind."""
    block = seen.blocks[layer]
    own = block.contributions[:, head]
    zero = block.middle - own
    return {"zero": zero, "mean": zero + own.mean((0, 1))}


def _onwards(seen: Trace, layer: int, x: Tensor) -> Tensor:
    """Logits (N, T, V) of streams (N, T, C) behind a layer's attention."""
    x = x + seen.blocks[layer].block.ffwd(seen.blocks[layer].block.ln2(x))
    for later in seen.model.blocks[layer + 1 :]:
        x = later(x)
    return seen.model.lm_head(seen.model.ln_f(x))


def _worth(seen: Trace, layer: int, head: int, y: Tensor, before: Tensor) -> dict[str, tuple[float, float | None]]:
    """What each kind of ablation changes of the loss; both together, for one large product waits less than two."""
    kinds = _without(seen, layer, head)
    x, targets = torch.cat(list(kinds.values())), y.repeat(len(kinds), 1)
    rows = max(1, tokens_per_call(seen.model) // y.shape[1])
    pairs = zip(x.split(rows), targets.split(rows), strict=True)
    losses = torch.cat([_losses(_onwards(seen, layer, some), theirs) for some, theirs in pairs])
    return {kind: _change(after - before) for kind, after in zip(kinds, losses.chunk(len(kinds)), strict=True)}


def _losses(logits: Tensor, y: Tensor) -> Tensor:
    """Nats per token (B,) of each window."""
    return F.cross_entropy(logits.mT, y, reduction="none").cpu().double().mean(1)


def _change(difference: Tensor) -> tuple[float, float | None]:
    """The mean of differences (B,) between windows of equal length, and its standard error."""
    if len(difference) == 1:
        return float(difference), None
    return float(difference.mean()), float(difference.std() / len(difference) ** 0.5)
