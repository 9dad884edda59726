"""What is context worth? The loss of a model that sees only the last 1, 2, 4, ... tokens, beside counts.

Shapes: N targets, k tokens before each, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.ladder import score_split
from clearhead.evaluation.loss import evaluating, tokens_per_call
from clearhead.inspection.baselines import COUNTED, Baselines, Floats, standard_error, stream_losses
from clearhead.models.base import LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel, log_odds, mixed
from clearhead.models.ngram import Contexts, NgramLanguageModel
from clearhead.tokenizers.base import Ids

FEWEST, MOST = 64, 1_024
"""Targets."""
GAINERS = 3


@dataclass(frozen=True)
class Rung:
    """A model that sees so much."""

    name: str
    context: int
    """Tokens before the target that it sees."""
    nats: float
    """Mean per token."""
    error: float
    """Standard error of that mean."""
    over: str | None
    """The rung that `gain` is counted from."""
    gain: float | None
    """Nats per token less than that."""
    gain_error: float | None
    """Standard error of the gain, over the differences at each target."""
    gained: tuple[str, ...] = ()
    """The tokens that make most of the gain, each with its share of it."""


@dataclass(frozen=True)
class Waterfall:
    """All rungs on the same targets."""

    targets: int
    measured_on: str
    rungs: tuple[Rung, ...]

    @property
    def by_length(self) -> bool:
        """Whether a GPT's contexts of several lengths are among the rungs."""
        return any(rung.name == "gpt 1" for rung in self.rungs)


@dataclass(frozen=True)
class Costs:
    """What a rung pays for each target, in nats (N,), and the rung that its gain is counted from."""

    name: str
    context: int
    nats: Floats
    over: str | None


def waterfall(
    model: LanguageModel,
    mixture: MixtureLanguageModel | None,
    data: TokenDataset,
    baselines: Baselines,
    names: tuple[str, ...],
    read: int,
) -> Waterfall:
    """From uniform to the model with all of its context, on the same targets of the validation text.

    There are as many targets as a GPT can read about `read` tokens for, all context lengths together.
    A GPT (a mixture's, for one) reads exactly the last k tokens of each target, as a text of their own: learned
    positions begin at 0. Counted models look at the text itself.
    """
    split = score_split(data)
    ids = data.ids(split)
    if isinstance(gpt := _read_by(model), GPTLanguageModel):
        at = _targets(len(ids), data.fits(gpt.config.block_size, split), mixture, read)
    else:
        at = np.arange(1, min(len(ids), read))
    measured = list(costs(model, mixture, data, baselines, at))
    words = f"{len(at):,} targets spread evenly over the {'validation' if split == 'val' else 'training'} text"
    return Waterfall(len(at), words, tuple(_rungs(measured, ids[at].astype(np.int64), names)))


def costs(
    model: LanguageModel,
    mixture: MixtureLanguageModel | None,
    data: TokenDataset,
    baselines: Baselines,
    at: np.ndarray,
) -> Iterator[Costs]:
    """What every rung pays for the targets at positions (N,) of the validation text; a GPT has its context there."""
    split = score_split(data)
    ids = data.ids(split)
    yield from _counted(ids, at, baselines)
    if isinstance(gpt := _read_by(model), GPTLanguageModel):
        yield from _by_length(gpt, mixture, ids, at, data.fits(gpt.config.block_size, split))
    else:
        yield from _other(model, ids, at)


def _read_by(model: LanguageModel) -> LanguageModel:
    """The model whose context is cut: of a mixture its GPT."""
    return model.gpt if isinstance(model, MixtureLanguageModel) else model


def lengths(most: int) -> list[int]:
    """1, 2, 4, ... and the most.

    >>> lengths(6), lengths(8)
    ([1, 2, 4, 6], [1, 2, 4, 8])
    """
    return [*(1 << i for i in range((most - 1).bit_length())), most]


def _targets(tokens: int, T: int, mixture: MixtureLanguageModel | None, read: int) -> np.ndarray:
    """Positions (N,) of targets, with all the context that any model wants before each, where the text has it."""
    count = min(MOST, max(FEWEST, read // sum(lengths(T))))
    first = min(tokens - 1, max(T, mixture.lookback if mixture else 0))
    return np.unique(np.linspace(first, tokens - 1, min(count, tokens - first)).astype(np.int64))


def _counted(ids: Ids, at: np.ndarray, baselines: Baselines) -> Iterator[Costs]:
    """uniform, unigram, bigram, n-gram."""
    V = baselines.ngram.vocab_size
    yield Costs("uniform", 0, np.full(len(at), np.log(V)), None)
    losses = baselines.losses(ids[: int(at.max()) + 1])
    contexts = dict(zip(COUNTED, (0, 1, baselines.ngram.context), strict=True))
    for name, over in zip(COUNTED, ("uniform", *COUNTED), strict=False):
        yield Costs(name, contexts[name], losses[name][at - 1], over)


def _other(model: LanguageModel, ids: Ids, at: np.ndarray) -> Iterator[Costs]:
    """The orders between of an n-gram; a table beside the counted one."""
    stream = ids[: int(at.max()) + 1]
    if isinstance(model, NgramLanguageModel):
        for order in range(1, model.order + 1):
            over = f"order {order - 1}" if order > 1 else "uniform"
            yield Costs(f"order {order}", order - 1, stream_losses(model.to_order(order), stream)[at - 1], over)
    else:
        yield Costs(f"trained {model.kind}", model.context, stream_losses(model, stream)[at - 1], "bigram")


def _by_length(
    gpt: GPTLanguageModel, mixture: MixtureLanguageModel | None, ids: Ids, at: np.ndarray, T: int
) -> Iterator[Costs]:
    """The GPT after the last 1, 2, 4, ... T tokens of each target; then mixed with the n-gram."""
    targets, over, logits = torch.from_numpy(ids[at].astype(np.int64)), "uniform", torch.empty(0)
    with evaluating(gpt):
        for k in lengths(T):
            logits = _last_logits(gpt, ids, at, k)
            nats = F.cross_entropy(logits, targets, reduction="none").double().numpy()
            yield Costs(f"gpt {k}", k, nats, over)
            over = f"gpt {k}"
        if mixture is not None:
            yield Costs("mixture", mixture.context, _mixed(mixture, logits, ids, at, T), over)


def _last_logits(gpt: GPTLanguageModel, ids: Ids, at: np.ndarray, k: int) -> Tensor:
    """(N, V) float32 on the CPU: what the GPT says after the k tokens before each target."""
    windows = torch.from_numpy(ids[at[:, None] + np.arange(-k, 0)].astype(np.int64))  # (N, k)
    rows = windows.split(max(1, tokens_per_call(gpt) // k))
    return torch.cat([gpt(x.to(gpt.device)).logits[:, -1].float().cpu() for x in rows])


def _mixed(mixture: MixtureLanguageModel, logits: Tensor, ids: Ids, at: np.ndarray, T: int) -> Floats:
    """Nats (N,) of the mixture, from the GPT's logits (N, V) after T tokens and the n-gram after all it looks at."""
    back = min(mixture.lookback, int(at.min()))
    known = mixture.ngram.look_up(torch.from_numpy(ids[at[:, None] + np.arange(-back, 0)].astype(np.int64)))
    levels = [level.reshape(len(at), -1)[:, -1] for level in (*known.ids, known.usable)]
    last = Contexts(levels[:-1], levels[-1])
    said = mixture.opinions(last, logits[:, None].double(), torch.full((1,), T - 1))
    odds = log_odds(mixture.gate.double().cpu(), said.known)[..., None]
    log_p = mixed(said.counted, said.neural, odds)[:, 0]  # (N, V)
    return -log_p[torch.arange(len(at)), torch.from_numpy(ids[at].astype(np.int64))].numpy()


def _rungs(measured: list[Costs], targets: np.ndarray, names: tuple[str, ...]) -> Iterator[Rung]:
    """Means, and gains over the rungs that they are counted from."""
    nats = {found.name: found.nats for found in measured}
    for found in measured:
        mean, error = float(found.nats.mean()), standard_error(found.nats)
        if found.over is None:
            yield Rung(found.name, found.context, mean, error, None, None, None)
            continue
        gain = nats[found.over] - found.nats
        gained = _gainers(gain, targets, names)
        yield Rung(found.name, found.context, mean, error, found.over, float(gain.mean()), standard_error(gain), gained)


def _gainers(gain: Floats, targets: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens whose targets gain most in all, with their share of the gain; none where a gain may be chance."""
    total = float(gain.sum())
    if gain.mean() <= 2 * standard_error(gain):
        return ()
    by_token = np.bincount(targets, gain, len(names))
    most = np.argsort(-by_token)[:GAINERS].tolist()
    return tuple(f"{names[i]} {by_token[i] / total:.0%}" for i in most if by_token[i] > 0)
