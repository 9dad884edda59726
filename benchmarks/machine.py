"""What every benchmark needs: the machine in words, medians, a run of the command line, figures as JSON or lines."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

PYTHON = sys.executable


def facts() -> dict[str, Any]:
    """The machine and the versions, without its name and without paths. Needs no torch."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "numpy", "clearhead")},
    }


def processor() -> str:
    """The processor's model where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def environment(changes: Mapping[str, str] | None) -> dict[str, str]:
    """This process's environment with changes."""
    return {**os.environ, **(changes or {})}


def command(
    words: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[str, float]:
    """Standard output and wall seconds of a command; SystemExit with its last words when it fails."""
    start = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, env=environment(env), cwd=cwd)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed with {done.returncode}: {done.stderr.strip()[-2_000:]}")
    return done.stdout, seconds


def clearhead(*words: str, env: Mapping[str, str] | None = None) -> tuple[str, float]:
    """Standard output and wall seconds of one verb."""
    return command([PYTHON, "-m", "clearhead", *words], env=env)


@dataclass(frozen=True)
class Process:
    """A verb that has ended."""

    told: str
    """Its standard output."""
    seconds: float
    """Wall clock, the start of the interpreter included."""
    processor_seconds: float
    peak: int
    """The most memory that it held, in bytes."""


def measured(*words: str, env: Mapping[str, str] | None = None) -> Process:
    """Run one verb and count what it takes; SystemExit when it fails. Linux and macOS."""
    start = time.perf_counter()
    process = subprocess.Popen([PYTHON, "-m", "clearhead", *words], stdout=subprocess.PIPE, env=environment(env))
    assert process.stdout is not None
    told = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"clearhead {' '.join(words)} failed with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Process(told, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def arguments(about: str) -> argparse.ArgumentParser:
    """A parser with the flag that all benchmarks share."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def show(figures: Mapping[str, Any], as_json: bool) -> None:
    """Print figures as one JSON document, or a line each."""
    if as_json:
        print(json.dumps(figures, indent=1))
        return
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value}")
