"""The five-line Python interface: train, load, ladder; a run generates, is judged, is shown.

import clearhead

run = clearhead.train("input.txt", max_iters=2000)
print(run.generate("ROMEO:", max_new_tokens=200))
print(run.ladder())
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from clearhead.config import RunConfig, SamplingConfig
from clearhead.data.prepare import prepare
from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.ladder import (
    Ladder,
    Rung,
    build_ladder,
    counted_rungs,
    join_ladders,
    score_rung,
)
from clearhead.evaluation.mixing import MixtureFit, fit_mixture, has_dev
from clearhead.generation.text import generate_samples, stream_text
from clearhead.models.base import LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.runs.checkpoint import best_checkpoint, load_mixture
from clearhead.runs.corpus import open_data
from clearhead.runs.directory import RunDirectory, find_run, is_run
from clearhead.runtime import Runtime, choose_runtime
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.job import Job, config_from, new_job, resume_job
from clearhead.training.running import run_job
from clearhead.training.sinks import Sink, console

RUNS = Path("runs")


class Run:
    """A trained run: its model, tokenizer and text. Weights are those that dev liked best.

    The model of a run of `--model mixture` is its GPT alone as long as training is not at its end.
    """

    def __init__(self, directory: RunDirectory, rungs: Sequence[Rung] = ()) -> None:
        directory.verify()
        self.directory = directory
        self.config: RunConfig = directory.read_config()
        self.tokenizer: Tokenizer = directory.read_tokenizer()
        self.runtime: Runtime = choose_runtime(replace(self.config.train, device="auto"))
        checkpoint = load_mixture(directory) or best_checkpoint(directory)
        self.step = checkpoint.step
        self.model: LanguageModel = checkpoint.model.to(self.runtime.device).eval()
        self._state = checkpoint.state
        self._rungs = list(rungs)

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.directory.path

    @cached_property
    def data(self) -> TokenDataset:
        """The tokens of the run's text; CorpusError when the text has changed or is gone."""
        return open_data(self.directory, self.tokenizer)

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

    def ladder(self) -> Ladder:
        """The counted rungs on this run's text and tokens, and the run's own: a GPT's alone, then in the mixture."""
        if not self._rungs:
            self._rungs = list(counted_rungs(self.data, self.tokenizer))
        return build_ladder(self.data, [*self._rungs, *self._own_rungs])

    @cached_property
    def _own_rungs(self) -> list[Rung]:
        seconds = max((e["seconds"] for e in self.directory.read_events() if "seconds" in e), default=None)
        mixed = self._mixture()
        if mixed is None:
            note = f"order {self.model.context + 1}" if self.model.kind == "ngram" else f"step {self.step:,}"
            return [self._rung(self.model, seconds, note)]
        mixture, fit = mixed
        before, after = (-fit.seconds, 0.0) if mixture is self.model else (0.0, fit.seconds)  # the clock of the run
        return [
            self._rung(mixture.gpt, seconds and seconds + before, f"step {self.step:,}"),
            self._rung(mixture, seconds and seconds + after, fit.note),
        ]

    def _mixture(self) -> tuple[MixtureLanguageModel, MixtureFit] | None:
        """The run's mixture, or the one that its GPT makes; None for other models, and without a dev split."""
        if isinstance(self.model, MixtureLanguageModel):
            return self.model, MixtureFit(**self._state)
        if not isinstance(self.model, GPTLanguageModel) or not has_dev(self.data):
            return None
        return fit_mixture(self.model, self.data, self.tokenizer, self.runtime, self.config.order)

    def _rung(self, model: LanguageModel, seconds: float | None, note: str) -> Rung:
        return score_rung(
            model.kind,
            model,
            self.data,
            self.tokenizer,
            seconds,
            runtime=self.runtime,
            run=self.directory.name,
            note=note,
        )

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.model.kind}, {self.model.num_parameters():,} parameters)"


def train(
    *corpus: str | os.PathLike[str],
    out: str | os.PathLike[str] = RUNS,
    name: str | None = None,
    preset: str = "modern",
    model: str = "gpt",
    init_from: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Train a model on a text and return the run.

    `corpus` is what the command line takes: files, folders, globs, named corpora; none means the built-in text.
    `settings` are the flags' names: max_iters, n_layer, tokenizer, lines, ... ConfigError names an unknown one.
    """
    if init_from is None:
        config, source = RunConfig.from_preset(preset, model), None
    else:
        source = find_run(Path(init_from), Path(out))
        config = config_from(source)
    job = new_job(
        config.with_settings(settings), [os.fspath(c) for c in corpus], out=Path(out), name=name, init_from=source
    )
    return finish(job, [console(sys.stdout)] if progress else [])


def resume(
    run: str | os.PathLike[str] | None = None, *, out: str | os.PathLike[str] = RUNS, progress: bool = True
) -> Run:
    """Go on with an interrupted run (the newest by default) and return it."""
    job = resume_job(find_run(None if run is None else os.fspath(run), Path(out)))
    return finish(job, [console(sys.stdout)] if progress else [])


def finish(job: Job, sinks: Sequence[Sink]) -> Run:
    """Train a job to its end and load what came of it."""
    run_job(job, sinks)
    return Run(job.run, job.rungs)


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


def _names_run(item: str, out: Path) -> bool:
    return is_run(Path(item)) or (not Path(item).exists() and is_run(out / item))
