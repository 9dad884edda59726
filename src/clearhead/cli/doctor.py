"""`clearhead doctor`: what this machine can do, and whether a run will fit into it."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.cli import train
from clearhead.cli.arguments import Switch, given_flags, parse
from clearhead.errors import ConfigError

if TYPE_CHECKING:
    from clearhead.training.fitting import Verdict

ALWAYS = {"out", "device", "json", "run"}
"""Flags that mean something without --run."""


@dataclass(frozen=True, kw_only=True)
class Arguments(train.Arguments):
    """This machine: device, versions, threads, measured matrix-product rate, room on the disk.

    With --run: memory and disk of a run before it starts, and whether it fits. All other arguments are those of
    `clearhead train`. The text is read, counted and planned for as `train` does it; nothing is trained or written but
    the text's tokens, into the cache. Exit code 0: it fits, 1: it does not.
    """

    run: Switch = False
    """Predict a run."""


def run(argv: Sequence[str]) -> int:
    """Print the machine's facts and figures, or what a run would take."""
    begun = time.perf_counter()
    arguments = parse(Arguments, "doctor", argv, Arguments(settings=train.defaults(argv)))
    if arguments.run:
        return _examine(arguments, argv, begun)
    if odd := sorted(given_flags(argv) - ALWAYS):
        raise ConfigError(f"--{odd[0]} speaks of a run; add --run")
    if arguments.corpus:
        raise ConfigError(f"'{arguments.corpus[0]}' is a text for a run; add --run")
    facts = _machine(arguments)
    _print(facts, arguments.json)
    return 0


def _machine(arguments: Arguments) -> dict[str, Any]:
    from clearhead.registry import names
    from clearhead.runtime import cache_dir, choose_runtime, environment
    from clearhead.training.pace import matrix_rate
    from clearhead.training.sinks import TensorBoard

    runtime = choose_runtime(arguments.settings.train)
    return {
        **environment(),
        "device": runtime.device_name,
        "precision": runtime.precision,
        "matrix_gflops": round(matrix_rate(runtime) / 1e9, 1),
        "free_disk_gb": round(_free_disk(arguments.out) / 1e9, 1),
        "runs": str(arguments.out),
        "cache": str(cache_dir()),
        "tensorboard": TensorBoard.available(),
        "models": names("models"),
        "tokenizers": names("tokenizers"),
    }


def _examine(arguments: Arguments, argv: Sequence[str], begun: float) -> int:
    """Predict the run, and say in one line whether it fits."""
    import clearhead.api  # noqa: F401  # all that train loads: this process is measured in its place
    from clearhead.training.fitting import examine

    wanted = train.request(arguments, argv, begun)
    verdict = examine(wanted, _free_disk(arguments.out), arguments.processes.nproc or 1)
    if arguments.json:
        _print(verdict.document(), as_json=True)
    else:
        _show(verdict)
    return 0 if verdict.fits else 1


def _free_disk(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(existing).free


def _print(facts: dict[str, Any], as_json: bool) -> None:
    from clearhead.cli.report import console, print_json

    if as_json:
        print_json(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        console().print(f"[bold]{name:<{width}}[/bold]  {shown}", soft_wrap=True, markup=True)


def _show(verdict: "Verdict") -> None:
    from rich.markup import escape

    from clearhead.cli.report import console

    for notice in verdict.notices:
        console().print(escape(notice), soft_wrap=True)
    width = max(len(name) for name, _ in verdict.lines())
    for name, value in verdict.lines():
        console().print(f"[bold]{name:<{width}}[/bold]  {escape(value)}", soft_wrap=True)
    console().print(f"[{'green' if verdict.fits else 'red'}]{escape(verdict.words)}[/]", soft_wrap=True)
