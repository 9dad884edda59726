"""From a question to its answer: draw up the design, make the runs, judge them."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clearhead.api import RUNS
from clearhead.experiments.conduct import LONG, Watcher, conduct
from clearhead.experiments.design import Texts, draw_up
from clearhead.experiments.experiment import Experiment
from clearhead.experiments.judge import judge
from clearhead.experiments.knobs import Knob, build_knob
from clearhead.experiments.recipe import SEEDS
from clearhead.experiments.search import Range, read_space, search
from clearhead.training.budget import parse_time


def experiment(
    knobs: Mapping[str, Sequence[Any]],
    *corpus: str | os.PathLike[str],
    seeds: int = SEEDS,
    time: str | None = None,
    trials: int | None = None,
    out: str | os.PathLike[str] = RUNS,
    most_seconds: float | None = LONG,
    progress: bool = True,
    **settings: Any,
) -> Experiment:
    """Turn one knob, or two, over paired seeds, and say what differs.

    >>> found = experiment({"n_embd": [8, 32]}, "input.txt")  # doctest: +SKIP
    >>> print(found.verdict)  # doctest: +SKIP

    A knob is any setting of `train` by its flag's name, or a part that is left out: `{"scale": ["on", "off"]}`. Values
    are words as on the command line, or themselves. `corpus` as in `train`. All runs make the same number of steps, or
    with `time` ("20s") as many as fit into it. With `trials` several knobs are searched, a range as ["1e-4..1e-2"], and
    the best by dev is held against the default. `settings` hold for all runs: max_iters, n_layer, ...

    Runs are made in `out`, and where they are there already, used again. ConfigError for a knob or a value that is
    none, and where the runs would take longer than `most_seconds` (None: however long); Stopped, a KeyboardInterrupt,
    once the run that was being trained is saved.
    """
    from clearhead.experiments.console import watcher

    return answer(
        [_space(name, values) if trials else build_knob(name, values) for name, values in knobs.items()],
        [os.fspath(c) for c in corpus],
        settings,
        seeds=seeds,
        time=time,
        trials=trials,
        out=Path(out),
        most_seconds=most_seconds,
        watcher=watcher(sys.stdout) if progress else None,
    )


def _space(name: str, values: Sequence[Any] | str) -> Knob | Range:
    words = [values] if isinstance(values, str) else values
    return read_space(f"{name}={','.join(map(str, words))}")


def answer(
    knobs: Sequence[Knob | Range],
    corpus: Sequence[str],
    settings: Mapping[str, Any],
    *,
    seeds: int = SEEDS,
    time: str | None = None,
    trials: int | None = None,
    out: Path = RUNS,
    most_seconds: float | None = LONG,
    watcher: Watcher | None = None,
) -> Experiment:
    """The same for knobs that are read, with somebody who looks on."""
    texts, seconds = Texts(corpus), None if time is None else parse_time(time)
    if trials is not None:
        wanted = {"seeds": seeds, "seconds": seconds, "out": out, "most_seconds": most_seconds, "watcher": watcher}
        return search(knobs, trials, texts, settings, **wanted)
    turned = [knob for knob in knobs if isinstance(knob, Knob)]
    design = draw_up(turned, texts, settings, seeds=seeds, seconds=seconds)
    return judge(design, conduct(design, out, watcher, most_seconds))
