"""Fitting a mixture: dev decides, with counts that have not seen dev; validation is never looked at."""

import time
from collections.abc import Generator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from clearhead.data.tokens import TokenDataset
from clearhead.errors import CheckpointError, CorpusError
from clearhead.evaluation.ladder import fit_ngram, score_split
from clearhead.evaluation.loss import FULL_PRECISION, SplitLoss, evaluating, measured, tokens_per_call
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import CLUES, MixtureLanguageModel, log_odds, mixed
from clearhead.models.ngram import NgramLanguageModel
from clearhead.runtime import Runtime
from clearhead.tokenizers.base import Tokenizer

LEAST_DEV = 3
"""Dev tokens without which there are no two parts to try weights on."""
MOST_DEV = 1 << 17
"""Dev tokens that weights are fitted on, at most (rounded up to a whole call of the GPT)."""
FOLDS = 5
"""Parts of dev, each judged by weights that the others fitted."""
RIDGE = 1.0
"""How strongly a gate is drawn to one weight: the inverse variance of a Gaussian prior on what each clue adds."""
ROUNDS = 200
WEIGHT_TOLERANCE = 1e-5
GATE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class MixtureFit:
    """What dev said. Losses are nats per token over the same dev tokens.

    Those of mixtures are cross-validated: each fifth of dev is scored with the weights that the rest of it fitted.
    """

    weight: float
    """The one weight of the n-gram that fits all of dev best."""
    ngram: float
    """Loss of the n-gram alone, counted without dev."""
    gpt: float
    """Loss of the GPT alone."""
    one_weight: float
    """Loss of the mixture with one weight."""
    by_context: float
    """Loss of the mixture with a gate: a weight for each position, by its clues."""
    tokens: int
    seconds: float
    """What counting and fitting took."""

    @classmethod
    def of(cls, state: object) -> Self:
        """What a mixture's checkpoint says of its fit; CheckpointError when that is something else."""
        names = {field.name for field in fields(cls)}
        if (
            isinstance(state, dict)
            and state.keys() == names
            and all(type(figure) in (int, float) for figure in state.values())
        ):
            return cls(**state)
        raise CheckpointError("the mixture's state.json does not say how it was fitted; train the run again")

    @property
    def uses_context(self) -> bool:
        """Whether the gate did better than one weight, and so is the mixture's."""
        return self.by_context < self.one_weight

    @property
    def note(self) -> str:
        """A rung's note."""
        return f"n-gram weight {self.weight:.2f}{', by context' if self.uses_context else ''}, fitted on dev"

    @property
    def summary(self) -> str:
        """A line with all figures."""
        return (
            f"mixture fitted on dev, nats per token: n-gram {self.ngram:.4f}, gpt {self.gpt:.4f}, "
            f"one weight ({self.weight:.2f}) {self.one_weight:.4f}, weights by context {self.by_context:.4f}"
        )


@dataclass(frozen=True)
class Scored:
    """The n tokens of a text: the log-probabilities (n,) that both parts gave them, the clues (n, CLUES) of each."""

    counted: Tensor
    neural: Tensor
    known: Tensor

    def __len__(self) -> int:
        return len(self.known)

    def split(self, begin: int, end: int) -> tuple["Scored", "Scored"]:
        """The tokens begin .. end - 1, and the others."""
        inside = torch.zeros(len(self), dtype=torch.bool)
        inside[begin:end] = True
        return self._rows(inside), self._rows(~inside)

    def _rows(self, which: Tensor) -> "Scored":
        return Scored(self.counted[which], self.neural[which], self.known[which])

    def nats(self, odds: Tensor) -> float:
        """The total loss with the log odds () or (n,) of the n-gram's weight."""
        return -float(mixed(self.counted, self.neural, odds).sum())


def has_dev(data: TokenDataset) -> bool:
    """Whether a text has the dev split that a mixture is fitted on."""
    return len(data.ids("dev")) >= LEAST_DEV


def fit_mixture(
    gpt: GPTLanguageModel,
    data: TokenDataset,
    tokenizer: Tokenizer,
    runtime: Runtime = FULL_PRECISION,
    order: int | None = None,
) -> tuple[MixtureLanguageModel, MixtureFit]:
    """The mixture of a GPT with an n-gram of an order (default: dev's choice), and what dev said of it.

    The weights are fitted with counts of the text that the GPT was trained on; the n-gram of the mixture is then
    counted on dev, too. CorpusError when there is no dev split.
    """
    if not has_dev(data):
        raise CorpusError("the text is too short for a dev split, and a mixture is fitted on dev; give a longer text")
    begun = time.perf_counter()
    whole = fit_ngram(data, tokenizer, order)
    ngram, train = whole.model, data.counted("train", whole.parts)
    counted = NgramLanguageModel.fit(train, tokenizer.vocab_size, ngram.order, eot_id=tokenizer.eot_id)
    scored = first_tokens(score_parts(MixtureLanguageModel(counted, gpt, 0.5), data, "dev", runtime), MOST_DEV)
    weight = fit_weight(scored)
    gate = fit_gate(scored, weight)
    one_weight, by_context = cross_validated(scored)
    fit = MixtureFit(
        weight=weight,
        ngram=-float(scored.counted.mean()),
        gpt=-float(scored.neural.mean()),
        one_weight=one_weight,
        by_context=by_context,
        tokens=len(scored),
        seconds=time.perf_counter() - begun,
    )
    return MixtureLanguageModel(ngram, gpt, gate if fit.uses_context else weight), fit


def part_losses(
    mixture: MixtureLanguageModel, data: TokenDataset, runtime: Runtime = FULL_PRECISION
) -> tuple[SplitLoss, SplitLoss]:
    """The losses of a mixture's GPT alone and of the mixture, over the split that a ladder is measured on."""
    split = score_split(data)
    gate, alone, together = mixture.gate.double().cpu(), 0.0, 0.0
    for scored in score_parts(mixture, data, split, runtime):
        alone -= float(scored.neural.sum())
        together += scored.nats(log_odds(gate, scored.known))
    return measured(alone, data, split), measured(together, data, split)


def fit_weight(scored: Scored) -> float:
    """The one weight of the n-gram that makes the tokens likeliest, by expectation-maximisation.

    It is the mean share that the n-gram has in the probability of the tokens (Dempster, Laird & Rubin 1977, section
    4.3). Every round adds to the likelihood, which has no maximum but one.
    """
    odds = (scored.neural - scored.counted).clamp(-500, 500).exp()  # of the GPT against the n-gram
    weight = 0.5
    for _ in range(ROUNDS):
        before, weight = weight, float((weight / (weight + (1 - weight) * odds)).mean())
        if abs(weight - before) < WEIGHT_TOLERANCE:
            break
    return weight


def fit_gate(scored: Scored, weight: float) -> Tensor:
    """The gate (1 + CLUES,) that makes the tokens likeliest, less its ridge, by generalised expectation-maximisation.

    It begins as one weight. A round finds the share of the n-gram in the probability of each token, then moves the
    gate towards the logistic regression of the shares on the clues (Jordan & Jacobs 1994), by one Newton
    step with the largest curvature that there can be, a quarter: so no step goes too far, and every round adds to
    the objective (Böhning & Lindsay 1988). Rounds end when no number moves by 1e-3.
    """
    x = torch.cat([torch.ones_like(scored.known[:, :1]), scored.known], dim=1)  # (n, 1 + CLUES)
    ridge = torch.full((1 + CLUES,), RIDGE, dtype=x.dtype)
    ridge[0] = 0
    step = torch.linalg.inv(x.T @ x / 4 + ridge.diag())
    advantage = scored.counted - scored.neural
    gate = torch.zeros_like(ridge)
    gate[0] = torch.tensor(weight, dtype=x.dtype).logit(eps=1e-9)
    for _ in range(ROUNDS):
        odds = x @ gate
        share = (odds + advantage).sigmoid()
        move = step @ (x.T @ (share - odds.sigmoid()) - ridge * gate)
        gate += move
        if float(move.abs().max()) < GATE_TOLERANCE:
            break
    return gate


def cross_validated(scored: Scored) -> tuple[float, float]:
    """Nats per token with one weight and with a gate, each fold of the text judged by what the others fitted."""
    edges = [len(scored) * fold // FOLDS for fold in range(FOLDS + 1)]
    one_weight = by_context = 0.0
    for begin, end in pairwise(edges):
        judged, others = scored.split(begin, end)
        weight = fit_weight(others)
        one_weight += judged.nats(torch.tensor(weight, dtype=torch.float64).logit())
        by_context += judged.nats(log_odds(fit_gate(others, weight), judged.known))
    return one_weight / len(scored), by_context / len(scored)


def score_parts(
    mixture: MixtureLanguageModel,
    data: TokenDataset,
    split: str,
    runtime: Runtime = FULL_PRECISION,
) -> Generator[Scored, None, None]:
    """What both parts of a mixture say of the tokens of a split, in one pass: the GPT window by window.

    A record for each call of the GPT, in order, so that a long text need not lie in memory.
    """
    gpt, ngram = mixture.gpt, mixture.ngram
    history, rows = ngram.new_cache(1), max(1, tokens_per_call(gpt) // gpt.config.block_size)
    with evaluating(gpt), runtime.autocast():
        for x, y in data.windows(split, gpt.config.block_size, rows):
            contexts = ngram.look_up(x.view(1, -1), history)  # windows follow one another: to the n-gram one row
            said = mixture.opinions(contexts, gpt(x.to(gpt.device)).logits, torch.arange(x.shape[1]))
            targets = y.to(gpt.device)[..., None]
            counted, neural = (
                part.gather(-1, targets).flatten().cpu().double() for part in (said.counted, said.neural)
            )
            yield Scored(counted, neural, said.known.flatten(0, 1).cpu().double())


def first_tokens(scored: Generator[Scored, None, None], most: int) -> Scored:
    """The records of the first tokens as one, rounded up to a whole record."""
    parts: list[Scored] = []
    while sum(map(len, parts)) < most and (part := next(scored, None)) is not None:
        parts.append(part)
    scored.close()  # gradients and the model's mode are as they were
    return Scored(*(torch.cat([getattr(part, name) for part in parts]) for name in ("counted", "neural", "known")))
