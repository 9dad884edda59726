"""Which initialisation is best? Every named one of a run's model, from the same seed, over the same batches.

Shapes: V tokens.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from clearhead import registry
from clearhead.config import RunConfig, TrainConfig
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.ladder import score_split
from clearhead.evaluation.table import aligned
from clearhead.initialise import default_name, initialise, names_for
from clearhead.inspection.lab import Lab, Start
from clearhead.inspection.tables import Floats, token_counts
from clearhead.inspection.view import View
from clearhead.models.base import LanguageModel
from clearhead.models.counting import count_levels
from clearhead.models.gpt import GPTLanguageModel
from clearhead.runtime import Runtime

STEP_TOKENS = 1_024
"""Tokens per step, at most: the run's batch is cut to fewer rows where it has more."""
SECONDS, RATE, LAYER_SECONDS = 7.0, 1.5e11, 2e-3
"""What the default number of steps is chosen for: so long, at so many operations per second (two cores) and so many
seconds more for every layer."""
FEWEST, MOST = 5, 300
NEAR_FLOOR = 0.1
"""Nats above the text's own bigram that a table must come to."""
HEAD = (
    "start|first loss||logit|token :|activation||gradient||update|loss|to target|",
    "|predicted|measured|spread|position|before|after|before|after|first, last|after|steps|seconds",
)


@dataclass(frozen=True)
class Initialisations(View):
    """All starts of a run's model."""

    run: str
    model: str
    starts: tuple[Start, ...]
    steps: int
    batch_size: int
    block_size: int
    uniform: float
    """ln V."""
    repetition: float
    """(sum p^2)^(1/2) of the text's tokens: how far the mean of a random logit over them is from 0, by its spread."""
    target: float
    target_words: str
    measured_on: str
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """What, of which run."""
        return (
            f"Initialisations of {self.run}: {len(self.starts)} starts, {self.steps} steps each, same seed and batches"
        )

    def __str__(self) -> str:
        rows = [*(line.split("|") for line in HEAD), *map(_cells, self.starts)]
        best = min(self.starts, key=lambda start: start.final)
        legend = [
            f"first loss: nats per token on {self.measured_on}; ln V = {self.uniform:.3f}; spread: of the logits.",
            "A prediction is a mean over seeds: where logits hardly differ between positions, one start may be",
            f"off by {self.repetition:.2f} x spread. Activation, gradient: root mean square in the stream, after the",
            "embedding > after the last block, before the first step and after the last. Update: |change| / |weight|",
            f"of the first and the last step, each of {self.batch_size} x {self.block_size} tokens",
            f"target: {self.target:.3f} nats, {self.target_words}; * is the run's own start",
            f"lowest after {self.steps} steps: {best.name}, {best.final:.3f} nats (one seed: a hundredth says nothing)",
        ]
        return "\n".join([*self.notes, *aligned(rows), *legend])


def initialisations(
    model: LanguageModel,
    config: RunConfig,
    data: TokenDataset,
    runtime: Runtime,
    *,
    run: str = "the run",
    steps: int | None = None,
    target: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Initialisations:
    """Train a fresh model from each start for a few steps, in memory; the run itself is not touched.

    The shape and the recipe are those of `config`; the rate stays at its peak after a warm-up over a tenth of the
    steps. `steps` (default: about ten seconds in all for a small GPT). ConfigError for a model that is counted, and for
    steps below 1.
    """
    if not names_for(config.trained):
        raise ConfigError(f"an {config.model} model is counted and has no initialisation; look into a gpt or a bigram")
    if steps is not None and steps < 1:
        raise ConfigError(f"steps={steps} must be at least 1")
    V, ids = model.vocab_size, data.ids("train")
    cases = list(_cases(config))
    train = _short(config.train, data)
    steps = steps or _affordable(_fresh(config, V), train, len(cases))
    train = replace(train, max_iters=steps, warmup_iters=max(1, steps // 10))
    own_target, words = _target(config, data, V)
    lab = Lab(train, data, runtime, own_target if target is None else target)
    starts = []
    for number, case in enumerate(cases, start=1):
        with torch.random.fork_rng(devices=[]):  # what is drawn here moves nobody's numbers
            fresh = _fresh(case, V)
            initialise(fresh, case.init, seed=train.seed, ids=ids)
            starts.append(lab.start(case, fresh, own=_is_own(case, config)))
        progress(
            f"{number} of {len(cases)}: {starts[-1].name}, {starts[-1].measured:.3f} -> {starts[-1].final:.3f} nats"
        )
    return Initialisations(
        run=run,
        model=config.trained,
        starts=tuple(starts),
        steps=steps,
        batch_size=train.batch_size,
        block_size=train.block_size,
        uniform=math.log(V),
        repetition=float(np.sqrt((_shares(data, V) ** 2).sum())),
        target=lab.target,
        target_words=words if target is None else "as asked for",
        measured_on=f"the first {lab.judged[0].numel():,} {score_split(data)} tokens",
        notes=("the GPT of the mixture; its n-gram is counted and starts nowhere",)
        if config.model == "mixture"
        else (),
    )


def _cells(start: Start) -> tuple[str, ...]:
    acts, grads = (
        [_ends([getattr(layer, what) for layer in layers]) for layers in (start.layers, start.layers_after)]
        for what in ("activation", "gradient")
    )
    return (
        start.name + " *" * start.own,
        _number(start.predicted, ".3f"),
        f"{start.measured:.3f}",
        f"{start.logit_spread:.3f}",
        _number(start.token_to_position, ".2f"),
        *acts,
        *grads,
        f"{_number(start.first_update, '.1e')}, {_number(start.last_update, '.1e')}",
        f"{start.final:.3f}",
        _number(start.steps_to_target, "d"),
        _number(start.seconds_to_target, ".1f"),
    )


def _ends(values: Sequence[float]) -> str:
    return f"{values[0]:.2g} > {values[-1]:.2g}" if values else "-"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _cases(config: RunConfig) -> Iterator[RunConfig]:
    """The configurations of all starts: every name, for a GPT each untied, tied and with a scaled embedding."""
    if config.trained == "bigram":
        yield from (replace(config, init=name) for name in names_for("bigram"))
        return
    shape = config.architecture
    variants = dict.fromkeys([(False, False), (True, False), (False, True), (shape.tie_weights, shape.scale_embedding)])
    for tied, scaled in variants:
        architecture = replace(shape, tie_weights=tied, scale_embedding=scaled)
        for name in names_for("gpt"):
            yield replace(config, init=name, architecture=architecture)


def _is_own(case: RunConfig, config: RunConfig) -> bool:
    own = config.init or default_name(config.trained, config.preset)
    return case.init == own and case.architecture == config.architecture


def _fresh(config: RunConfig, vocab_size: int) -> LanguageModel:
    shape = {"vocab_size": vocab_size} if config.trained == "bigram" else asdict(config.gpt(vocab_size))
    return registry.resolve("models", config.trained).from_config(shape)


def _short(train: TrainConfig, data: TokenDataset) -> TrainConfig:
    """The run's recipe for a short run: its rate stays at the peak, its batch has no more than STEP_TOKENS."""
    block_size = data.fits(train.block_size)
    return replace(
        train,
        block_size=block_size,
        batch_size=max(1, min(train.batch_size, STEP_TOKENS // block_size)),
        accumulation=1,
        dev_iters=0,
        decay_iters=None,
        min_lr=train.learning_rate,
    )


def _affordable(model: LanguageModel, train: TrainConfig, cases: int) -> int:
    """Steps for each start, by counting operations and not seconds: the same on every machine."""
    if not isinstance(model, GPTLanguageModel):
        return MOST
    operations = 6 * model.num_parameters() * train.batch_size * train.block_size
    seconds = operations / RATE + LAYER_SECONDS * model.config.n_layer
    return max(FEWEST, min(MOST, int(SECONDS / (cases * seconds))))


def _target(config: RunConfig, data: TokenDataset, vocab_size: int) -> tuple[float, str]:
    """A loss worth reaching soon: that of the text's own frequencies, for a table a little above its own pairs."""
    if config.trained == "bigram":
        level = count_levels(data.ids("train"), vocab_size, 2, max_bytes=1 << 62)[1]
        pairs, rows = level.raw.astype(float), np.zeros(vocab_size)
        np.add.at(rows, level.keys // vocab_size, pairs)
        floor = float((pairs * np.log(rows[level.keys // vocab_size] / pairs)).sum() / pairs.sum())
        return floor + NEAR_FLOOR, f"{NEAR_FLOOR:g} above the entropy of the training text's pairs"
    shares = _shares(data, vocab_size)
    return float(-(shares * np.log(shares)).sum()), "the entropy of the training text's token frequencies"


def _shares(data: TokenDataset, vocab_size: int) -> Floats:
    """Of the training text, by token; those that occur."""
    counts = token_counts(data, vocab_size)
    return counts[counts > 0] / counts.sum()
