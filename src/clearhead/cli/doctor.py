"""`clearhead doctor`: what this machine can do."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clearhead.cli.arguments import RUNS, Switch, parse


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """This machine: device, versions, threads, measured matrix-product rate, room on the disk."""

    out: Path = RUNS
    """The folder that would hold runs."""
    device: str = "auto"
    """The device to look at."""
    json: Switch = False
    """Print one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Print the machine's facts and figures."""
    arguments = parse(Arguments, "doctor", argv)

    from clearhead.cli.report import console, print_json
    from clearhead.config import TrainConfig
    from clearhead.registry import names
    from clearhead.runtime import cache_dir, choose_runtime, environment, matrix_rate
    from clearhead.training.sinks import TensorBoard

    runtime = choose_runtime(TrainConfig(device=arguments.device))
    existing = next(p for p in (arguments.out.absolute(), *arguments.out.absolute().parents) if p.exists())
    facts = {
        **environment(),
        "device": runtime.device_name,
        "precision": runtime.precision,
        "matrix_gflops": round(matrix_rate(runtime) / 1e9, 1),
        "free_disk_gb": round(shutil.disk_usage(existing).free / 1e9, 1),
        "runs": str(arguments.out),
        "cache": str(cache_dir()),
        "tensorboard": TensorBoard.available(),
        "models": names("models"),
        "tokenizers": names("tokenizers"),
    }
    if arguments.json:
        print_json(facts)
        return 0
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        console().print(f"[bold]{name:<{width}}[/bold]  {shown}", soft_wrap=True, markup=True)
    return 0
