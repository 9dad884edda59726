"""The runs of an experiment, scored on the whole validation text and held against each other."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from statistics import median
from typing import Any

from clearhead.api import Run
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.alignment import Scored
from clearhead.evaluation.bootstrap import LEVEL
from clearhead.evaluation.loss import measured, split_loss, token_losses
from clearhead.evaluation.several import Several, compare_several
from clearhead.experiments.conduct import Made
from clearhead.experiments.design import Arm, Design
from clearhead.experiments.experiment import Curve, Experiment, Outcome, Trial
from clearhead.training.console import duration
from clearhead.training.weighing import weigh

A_BATCH = ("batch_size", "block_size", "tokenizer")
"""Knobs that change what a batch is."""


def judge(design: Design, made: Sequence[Made]) -> Experiment:
    """Score every run, and say what differs."""
    parameters: dict[str, int] = {}
    scored: dict[str, list[Scored]] = {arm.name: [] for arm in design.arms}
    trials: dict[str, list[Trial]] = {arm.name: [] for arm in design.arms}
    for one in made:
        run = Run(one.run)
        parameters[one.arm.name] = run.model.num_parameters()
        losses, trial = _score(run, one.seed, one.arm.draft.text.data)
        scored[one.arm.name].append(losses)
        trials[one.arm.name].append(trial)
    outcomes = tuple(_outcome(arm, trials[arm.name], parameters[arm.name]) for arm in design.arms)
    comparison, trouble = _compare([scored[arm.name] for arm in design.arms])
    meta = design.text.data.meta
    return Experiment(
        knobs=design.knobs,
        corpus=meta.name,
        val_characters=meta.characters["val"],
        setting=describe(design),
        seeds=design.seeds,
        outcomes=outcomes,
        comparison=comparison,
        notes=(*trouble, *_notes(design, outcomes, comparison)),
    )


def describe(design: Design) -> str:
    """What all runs have in common, in one line."""
    config = design.arms[0].draft.config
    known: dict[str, Any] = {**asdict(config.architecture), **asdict(config.train)}
    sizes = {
        "n_layer": "layers",
        "n_head": "heads",
        "n_embd": "width",
        "block_size": "context",
        "batch_size": "windows a step",
        "max_iters": "steps",
    }
    if design.seconds is not None:
        sizes.pop("max_iters")
    of_gpt = {"n_layer", "n_head", "n_embd"} if config.trained != "gpt" else set()
    words = [f"{known[name]:,} {word}" for name, word in sizes.items() if name not in design.turned | of_gpt]
    shape = [] if "preset" in design.turned or config.trained != "gpt" else [f"preset {config.preset}"]
    clock = (
        [] if design.seconds is None else [f"the steps that fit into {duration(design.seconds)}, by the pace measured"]
    )
    return f"all runs: {', '.join([*shape, *words, *clock])}; seeds {design.seeds[0]} to {design.seeds[-1]}"


def _score(run: Run, seed: int, data: TokenDataset) -> tuple[Scored, Trial]:
    model, exact = run.model, run.runtime.exact
    losses = token_losses(model, data, "val", exact).double().numpy()
    val = measured(float(losses.sum()), data, "val")
    dev = split_loss(model, data, "dev", exact) if len(data.ids("dev")) > 1 else None
    events = run.directory.read_events()
    trial = Trial(
        seed=seed,
        run=str(run.path),
        val_nats_per_token=val.nats_per_token,
        val_bits_per_char=val.bits_per_char,
        dev_nats_per_token=None if dev is None else dev.nats_per_token,
        dev_bits_per_char=None if dev is None else dev.bits_per_char,
        tokens_per_second=tokens_per_second(events),
        seconds=events[-1]["seconds"],
        curve=_curve(events),
    )
    return Scored(run.directory.name, model.kind, run.tokenizer, data, losses), trial


def tokens_per_second(events: Sequence[dict[str, Any]]) -> float | None:
    """The median pace of steps that follow each other; None where there are no two."""
    started = next((event for event in events if event["event"] == "started"), None)
    steps = [event for event in events if event["event"] == "stepped"]
    paces = [
        (after["seconds"] - before["seconds"]) / (after["step"] - before["step"])
        for before, after in pairwise(steps)
        if after["seconds"] > before["seconds"]
    ]
    return started["tokens_per_step"] / median(paces) if started and paces else None


def _curve(events: Sequence[dict[str, Any]]) -> Curve:
    seen = [event for event in events if event["event"] == "evaluated"]
    columns = (tuple(event[name] for event in seen) for name in ("step", "seconds", "train", "val"))
    return Curve(*columns)


def _outcome(arm: Arm, trials: Sequence[Trial], parameters: int) -> Outcome:
    config, text = arm.draft.config, arm.draft.text
    tensors = None if config.model == "ngram" else weigh(config, text.tokenizer.vocab_size, text.runtime)
    return Outcome(
        name=arm.name,
        values=tuple(value.word for value in arm.choice),
        trials=tuple(trials),
        parameters=parameters,
        memory=None if tensors is None else tensors.weights + tensors.moments + tensors.step.all,
        steps=0 if tensors is None else config.train.max_iters,
        tokenizer=text.tokenizer.fingerprint[:12],
        predicts=config.trained != "gpt" or config.architecture.without != "mask",
    )


def _compare(settings: Sequence[Sequence[Scored]]) -> tuple[Several | None, list[str]]:
    """Which is best; or why nobody can say."""
    try:
        return compare_several(settings), []
    except ConfigError as error:
        return None, [str(error)]


def _notes(design: Design, outcomes: Sequence[Outcome], comparison: Several | None) -> Iterator[str]:
    """What the verdict is worth, and what it does not know."""
    if comparison is not None:
        pairs = len(outcomes) * (len(outcomes) - 1) // 2
        each = f"each is of {100 * comparison.level:.4g} %, " if pairs > 1 else ""
        yield (
            f"intervals: {each}{100 * LEVEL:.0f} % for {f'all {pairs} pairs together' if pairs > 1 else 'the pair'}; "
            f"they hold the noise of the text ({comparison.blocks} blocks) and of {len(design.seeds)} seeds"
        )
    if len(design.seeds) == 1:
        yield "one seed: what another would change is not in the intervals; give --seeds 3"
    by_dev = [
        (outcome.dev_bits_per_char, outcome.name) for outcome in outcomes if outcome.dev_bits_per_char is not None
    ]
    choice = f": it would choose {min(by_dev)[1]}" if len(by_dev) == len(outcomes) else ""
    yield f"who picks by this table reads validation, and its loss then flatters; dev is there to decide{choice}"
    if changed := sorted(design.turned.intersection(A_BATCH)):
        yield f"{' and '.join(changed)}: a batch is another one for each setting; all else of the seed is the same"
    else:
        yield "every setting read the same batches, seed by seed"
    if len({outcome.tokenizer for outcome in outcomes}) > 1:
        yield "different tokenizers: nats per token do not compare, bits per character do"
    for outcome in outcomes:
        if not outcome.predicts:
            yield f"{outcome.name}: without a mask every token has seen the next one, so its loss is no prediction"
