"""The five-line Python interface: train, load, ladder; a run generates, is judged, is shown.

import clearhead

run = clearhead.train("input.txt", max_iters=2000)
print(run.generate("ROMEO:", max_new_tokens=200))
print(run.ladder())
"""

import os
import sys
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

from clearhead.config import DataConfig, RunConfig, SamplingConfig, Weights
from clearhead.data.prepare import prepare
from clearhead.evaluation.alignment import Scored
from clearhead.evaluation.compare import Comparison, check_sides, compare_losses, named_runs
from clearhead.evaluation.ladder import (
    Ladder,
    Rung,
    build_ladder,
    build_rung,
    counted_rungs,
    fit_ngram,
    join_ladders,
    score_split,
)
from clearhead.evaluation.loss import SplitLoss, split_loss, token_losses
from clearhead.evaluation.memorisation import Memorisation, measure_memorisation
from clearhead.evaluation.mixing import MixtureFit, has_dev, part_losses
from clearhead.fields import update
from clearhead.generation.text import Sample, draw_samples, generate_samples, stream_text
from clearhead.models.base import LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.models.weights import with_weights
from clearhead.runs.agreement import check_model
from clearhead.runs.checkpoint import final_checkpoint, load_checkpoint, load_mixture
from clearhead.runs.directory import RunDirectory, find_run, is_run
from clearhead.runtime import Runtime, choose_runtime
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.budget import choose_budget
from clearhead.training.importing import import_weights
from clearhead.training.job import Job, config_from, mix, new_job, resume_job
from clearhead.training.launch import check_alone
from clearhead.training.running import run_job
from clearhead.training.sinks import Sink, console
from clearhead.views import Inspectable

RUNS = Path("runs")


class Run(Inspectable):
    """A trained run: its model, tokenizer and text. Weights are those that dev liked best, or that
    learned from it last.

    The model of a run of `--model mixture` is its GPT alone as long as training is not at its end.
    """

    def __init__(self, directory: RunDirectory, rungs: Sequence[Rung] = ()) -> None:
        directory.verify()
        self.directory = directory
        self.config: RunConfig = directory.read_config()
        self.tokenizer: Tokenizer = directory.read_tokenizer()
        self.runtime: Runtime = choose_runtime(replace(self.config.train, device="auto"))
        checkpoint = load_mixture(directory) or final_checkpoint(directory)
        check_model(directory, checkpoint, self.config, self.tokenizer)
        self.step = checkpoint.step
        self.model: LanguageModel = checkpoint.model.to(self.runtime.device).eval()
        self._state = checkpoint.state
        self._rungs = list(rungs)

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.directory.path

    def stream(self, prompt: str = "", *, row: int = 0, **settings: Any) -> Iterator[str]:
        """Sample number `row` as it is written, in pieces that never split a character.

        Settings as in `SamplingConfig`.
        """
        return stream_text(self.model, self.tokenizer, prompt, SamplingConfig(**settings), row)

    def generate(self, prompt: str = "", **settings: Any) -> str:
        """The text that follows a prompt, without it; the first of `num_samples`. Same seed, same text."""
        return self.samples(prompt, **settings)[0]

    def samples(self, prompt: str = "", **settings: Any) -> list[str]:
        """`num_samples` continuations of a prompt."""
        return generate_samples(self.model, self.tokenizer, prompt, SamplingConfig(**settings))

    def draw(self, prompt: str = "", **settings: Any) -> list[Sample]:
        """`num_samples` continuations of a prompt with their tokens, and with `logprobs` what each was worth."""
        return draw_samples(self.model, self.tokenizer, prompt, SamplingConfig(**settings))

    def with_weights(self, weights: Weights) -> "Run":
        """This run with its matrices in fewer bits, to draw from; ConfigError where there are no matrices."""
        run = copy(self)
        run.__dict__.pop("_own_rungs", None)
        run.model = with_weights(self.model, weights)
        return run

    def at(self, step: int) -> "Run":
        """This run as it stood at a checkpoint; CheckpointError where it has none of that step."""
        run = copy(self)
        run.__dict__.pop("_own_rungs", None)
        run.model, run.step = load_checkpoint(self.directory, step).model.to(self.runtime.device).eval(), step
        return run

    def cost_of(self, other: "Run", max_tokens: int = 16_384) -> tuple[SplitLoss, SplitLoss]:
        """The loss of this run's model and of another's on the first tokens of this run's validation text."""
        models, split = (self.model, other.model), score_split(self.data)
        mine, theirs = (split_loss(model, self.data, split, self.runtime.exact, max_tokens) for model in models)
        return mine, theirs

    def rung_models(self) -> dict[str, LanguageModel]:
        """The models of the ladder by name, the weakest first: counted on this run's text, then its own, and where
        that is a GPT the mixture of both."""
        ngram = fit_ngram(self.data, self.tokenizer).model
        models: dict[str, LanguageModel] = {"unigram": ngram.to_order(1), "bigram": ngram.to_order(min(2, ngram.order))}
        models["ngram"] = ngram
        if (mixed := self._mixture()) is None:
            return models | {self.model.kind: self.model}
        return models | {"gpt": mixed[0].gpt, "mixture": mixed[0]}

    def ladder(self) -> Ladder:
        """The counted rungs on this run's text and tokens, and the run's own: a GPT's alone, then in the mixture."""
        return build_ladder(self.data, [*self._counted(), *self._own_rungs])

    def _counted(self) -> list[Rung]:
        if not self._rungs:
            self._rungs = list(counted_rungs(self.data, self.tokenizer))
        return self._rungs

    def memorisation(self, samples: int = 8, **settings: Any) -> Memorisation:
        """What samples share with the training text, beside what validation text shares with it.

        Settings as in `SamplingConfig`, but `stop`. CorpusError when the text has changed or is gone.
        """
        sampling = SamplingConfig(num_samples=samples, **settings)
        return measure_memorisation(self.model, self.tokenizer, self.data, sampling)

    @cached_property
    def _own_rungs(self) -> list[Rung]:
        seconds = max((e["seconds"] for e in self.directory.read_events() if e.get("seconds")), default=None)
        mixed = self._mixture()
        if mixed is None:
            note = f"order {self.model.context + 1}" if self.model.kind == "ngram" else f"step {self.step:,}"
            if isinstance(self.model, GPTLanguageModel) and not self.model.predicts:
                note += ", without=mask: it sees what it is to predict"
            loss = split_loss(self.model, self.data, score_split(self.data), self.runtime.exact)
            return [self._rung(self.model, loss, seconds, note)]
        mixture, fit = mixed
        before, after = (-fit.seconds, 0.0) if mixture is self.model else (0.0, fit.seconds)  # the clock of the run
        alone, together = part_losses(mixture, self.data, self.runtime.exact)
        return [
            self._rung(mixture.gpt, alone, seconds and seconds + before, f"step {self.step:,}"),
            self._rung(mixture, together, seconds and seconds + after, fit.note),
        ]

    def _mixture(self) -> tuple[MixtureLanguageModel, MixtureFit] | None:
        """The run's mixture, or the one that its GPT makes; None for other models, and without a dev split."""
        if isinstance(self.model, MixtureLanguageModel):
            return self.model, MixtureFit.of(self._state)
        if not isinstance(self.model, GPTLanguageModel) or not self.model.predicts or not has_dev(self.data):
            return None
        return mix(self.directory, self.model, self.data, self.tokenizer, self.runtime, self._counted())

    def _rung(self, model: LanguageModel, loss: SplitLoss, seconds: float | None, note: str) -> Rung:
        return build_rung(model.kind, model, self.tokenizer, loss, seconds, run=self.directory.name, note=note)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.model.kind}, {self.model.num_parameters():,} parameters)"


def train(
    *corpus: str | os.PathLike[str],
    out: str | os.PathLike[str] = RUNS,
    name: str | None = None,
    preset: str = "modern",
    model: str = "gpt",
    init_from: str | os.PathLike[str] | None = None,
    time: str | None = None,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Train a model on a text and return the run.

    `corpus` is what the command line takes: files, folders, globs, named corpora; none means the built-in text.
    `time` is how long it may take, as in 90s, 3m, 1h30m: size, context, batch and steps are planned for it. Without
    it that is 3m, and nothing is planned where `settings` give steps or a size.
    `settings` are the flags' names: max_iters, n_layer, tokenizer, lines, ... ConfigError names an unknown one.
    """
    begun = perf_counter()
    check_alone()
    source = None if init_from is None else find_run(Path(init_from), Path(out))
    config = config_from(source) if source else RunConfig.from_preset(preset, model)
    config = config.with_settings(settings)
    given = {*settings, *(("preset",) if preset != RunConfig.preset else ()), *(("init_from",) if source else ())}
    job = new_job(
        config,
        [os.fspath(c) for c in corpus],
        out=Path(out),
        name=name,
        init_from=source,
        budget=choose_budget(time, given, config, begun),
        fixed=given,
    )
    return finish(job, [console(sys.stdout)] if progress else [])


def resume(
    run: str | os.PathLike[str] | None = None,
    *,
    max_iters: int | None = None,
    out: str | os.PathLike[str] = RUNS,
    progress: bool = True,
) -> Run:
    """Go on with an interrupted run (the newest by default) and return it; with `max_iters` to that step."""
    check_alone()
    job = resume_job(find_run(None if run is None else os.fspath(run), Path(out)), max_iters)
    return finish(job, [console(sys.stdout)] if progress else [])


def finish(job: Job, sinks: Sequence[Sink]) -> Run:
    """Train a job to its end and load what came of it."""
    run_job(job, sinks)
    return Run(job.run, job.rungs)


def import_checkpoint(
    checkpoint: str | os.PathLike[str],
    text: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] = RUNS,
    name: str | None = None,
    n_head: int | None = None,
    **reading: Any,
) -> Run:
    """A checkpoint of nanoGPT, or of the lecture's gpt.py or bigram.py, as a run; `text` is what it was trained on.

    `n_head` is for a nanoGPT state_dict without its model_args. `reading` are the flags of how a text is read: lines,
    text_field, errors. CheckpointError where the file is no such checkpoint, or does not fit the text.
    """
    data = update(DataConfig(), reading)
    imported = import_weights(Path(checkpoint), [os.fspath(text)], data=data, out=Path(out), name=name, n_head=n_head)
    return Run(imported.run)


def load(run: str | os.PathLike[str] | None = None, *, out: str | os.PathLike[str] = RUNS) -> Run:
    """A run by its path or name; the newest in `out` when none is named. CheckpointError when there is none."""
    return Run(find_run(None if run is None else os.fspath(run), Path(out)))


def ladder(*corpora_or_runs: str | os.PathLike[str], out: str | os.PathLike[str] = RUNS, **settings: Any) -> Ladder:
    """The ladder of a text, of runs, or of both; ConfigError when their validation texts differ."""
    named = [os.fspath(item) for item in corpora_or_runs]
    runs = [find_run(item, Path(out)) for item in named if _names_run(item, Path(out))]
    texts = [item for item in named if not _names_run(item, Path(out))]
    ladders = [Run(run).ladder() for run in runs]
    if texts or not runs:
        prepared = prepare(RunConfig().with_settings(settings), texts)
        ladders.insert(0, build_ladder(prepared.data, list(counted_rungs(prepared.data, prepared.tokenizer))))
    return join_ladders(ladders)


def compare(
    a: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    b: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] = RUNS,
) -> Comparison:
    """Side A against side B: is one better on their validation text, or is it chance?

    A side is a run, or several that differ in their seed only: a list, names with commas, a pattern as "runs/a-*".
    ConfigError when runs of a side differ in more, or the validation texts differ.
    """
    sides = [[a] if isinstance(a, str | os.PathLike) else a, [b] if isinstance(b, str | os.PathLike) else b]
    runs = [[run for word in side for run in named_runs(os.fspath(word), Path(out))] for side in sides]
    check_sides(*runs)
    ours, theirs = ([_scored(Run(run)) for run in side] for side in runs)
    return compare_losses(ours, theirs)


def _scored(run: Run) -> Scored:
    losses = token_losses(run.model, run.data, "val", run.runtime.exact).double().numpy()
    return Scored(run.directory.name, run.model.kind, run.tokenizer, run.data, losses)


def _names_run(item: str, out: Path) -> bool:
    return is_run(Path(item)) or (not Path(item).exists() and is_run(out / item))
