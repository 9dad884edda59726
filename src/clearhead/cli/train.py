"""`clearhead train`: a text in; a trained, judged and talking model out."""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.cli.arguments import RUNS, Processes, Switch, Words, given_flags, parse, said_once
from clearhead.config import RunConfig
from clearhead.errors import CompleteError
from clearhead.fields import load_config

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.training.launch import Make


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a model on a text, beside the counted rungs that say how good it is.

    CORPUS is a file, several, a folder, a glob, - for standard input, .gz, .jsonl, or a named corpus:
    shakespeare, names, python-docs. Without one: shakespeare where it is at hand, else python-docs.
    The last line printed is the run's folder. Size, context, batch and steps are planned for this machine, this text
    and --time; a flag that is given wins over the plan. With --max_iters or a size, and no --time, nothing is planned.
    """

    corpus: Words = ()
    """The text."""
    out: Path = RUNS
    """The folder that holds runs."""
    name: str | None = None
    """The run's name (default: from the corpus and the model)."""
    config: Path | None = None
    """A TOML file of settings; flags win over it."""
    time: str | None = None
    """How long the whole command may take: 60s, 10m, 1h30m (default: 3m, where no steps or sizes are given)."""
    init_from: str | None = None
    """Start from the weights and the tokenizer of this run."""
    json: Switch = False
    """Print one JSON document; progress goes to standard error."""
    processes: Processes = field(default_factory=Processes)
    """Who trains."""
    settings: RunConfig = field(default_factory=RunConfig)
    """All settings."""


def run(argv: Sequence[str]) -> int:
    """Train, judge, and print the run's folder."""
    start = time.perf_counter()
    with said_once():
        arguments = parse(Arguments, "train", argv, Arguments(settings=defaults(argv)))
    if arguments.processes.nproc:
        return arguments.processes.launch("train", argv)

    from clearhead.api import new_job, resume_job

    make = lambda begun: resume_job(begun) if begun else new_job(**request(arguments, argv, start))  # noqa: E731
    return carry_out(make, arguments.out, arguments.json)


def carry_out(make: "Make", out: Path, as_json: bool) -> int:
    """Train the job that `make` makes, told on the console; or train along with the process that tells."""
    from clearhead.api import Run, finish
    from clearhead.runs.directory import RunDirectory
    from clearhead.training.launch import lead
    from clearhead.training.running import follow_job
    from clearhead.training.sinks import console

    try:
        job = lead(make, out)
    except CompleteError as complete:
        if not complete.restarted:
            raise
        return conclude(Run(RunDirectory(complete.path)), as_json)
    if job.follows:
        return follow_job(job)
    return conclude(finish(job, [console(sys.stderr if as_json else sys.stdout)]), as_json)


def conclude(trained: "Run", as_json: bool) -> int:
    """What every training ends with: how to go on after Ctrl-C, else the ladder and the folder."""
    from clearhead.cli.report import print_json
    from clearhead.evaluation.by_source import losses_by_source

    last = trained.directory.read_events()[-1]
    if last["reason"] == "interrupted":
        print(f"go on with: clearhead resume {trained.path}", file=sys.stderr)
        return 128 + signal.Signals[last["signal"] or "SIGINT"]
    ladder = trained.ladder()
    rung = ladder[trained.model.kind] if trained.model.kind != "bigram" else ladder.rungs[-1]
    by_source = losses_by_source(trained.model, trained.data, trained.runtime.exact)
    if not as_json:
        print(ladder)
        for name, loss in by_source.items():
            print(
                f"validation of {name}: {loss.nats_per_token:.4f} nats per token, "
                f"{loss.bits_per_char:.4f} bits per character"
            )
        print(trained.path)
        return 0
    judged = ladder.split == "val"
    print_json(
        {
            "run": str(trained.path),
            "steps": last["step"],
            "seconds": last["seconds"],
            "val_nats_per_token": rung.nats_per_token if judged else None,
            "val_bits_per_char": rung.bits_per_char if judged else None,
            "ladder": ladder.to_dict(),
            **({"sources": {name: asdict(loss) for name, loss in by_source.items()}} if by_source else {}),
        }
    )
    return 0


def request(arguments: Arguments, argv: Sequence[str], begun: float) -> dict[str, Any]:
    """What `new_job` is asked for by a command that began at `begun`, by `time.perf_counter`."""
    from clearhead.runs.directory import find_run
    from clearhead.training.budget import choose_budget

    given = {*given_flags(argv), *(_leaves(load_config(arguments.config)) if arguments.config else ())}
    return {
        "config": arguments.settings,
        "corpus": arguments.corpus,
        "out": arguments.out,
        "name": arguments.name,
        "init_from": find_run(arguments.init_from, arguments.out) if arguments.init_from else None,
        "budget": choose_budget(arguments.time, given, arguments.settings, begun),
        "fixed": given,
    }


def _leaves(values: Mapping[str, Any]) -> Iterator[str]:
    """The names of the settings in a TOML document."""
    for name, value in values.items():
        yield name
        if isinstance(value, Mapping):
            yield from _leaves(value)


def defaults(argv: Sequence[str]) -> RunConfig:
    """The settings that flags change: those of the preset, the model or the other run, then of the file."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in ("preset", "model", "config", "out"):
        first.add_argument(f"--{flag}")
    first.add_argument("--init_from", "--init-from")
    try:
        known, _ = first.parse_known_args(list(argv))
    except argparse.ArgumentError:
        return RunConfig()  # a flag without its value: the full parser says so
    values = load_config(Path(known.config)) if known.config else {}
    if known.init_from:
        from clearhead.api import config_from
        from clearhead.runs.directory import find_run

        settings = config_from(find_run(known.init_from, Path(known.out or RUNS)))
    else:
        settings = RunConfig.from_preset(
            known.preset or values.get("preset", RunConfig.preset),
            known.model or values.get("model", RunConfig.model),
        )
    return settings.updated(values)
