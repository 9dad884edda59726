"""Takes one ingredient of the default recipe away at a time, and writes down what each is worth.

    python benchmarks/recipe.py --list             # the variants, and how many runs of each are measured
    nohup nice python benchmarks/recipe.py &       # what is missing, one short run after the other
    python benchmarks/recipe.py --speed            # what a variant costs in time, beside the recipe; alone on a machine
    python benchmarks/recipe.py --page             # writes docs/recipe.md from what was measured

A run that ends is a line of benchmarks/recipe.jsonl. Stop whenever you like: the next start skips what is there.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import recipe_page
from recipe_results import BASE, RESULTS

from clearhead.errors import ClearheadError, ConfigError, did_you_mean
from clearhead.runtime import share_cores

SIZE = {"block_size": 128, "batch_size": 16}
"""What the planner takes for a minute or two on a CPU."""
CORPORA: dict[str, dict[str, Any]] = {"shakespeare": SIZE, "python-docs": SIZE, "names": {**SIZE, "lines": True}}
"""Corpus -> settings that belong to it, in the recipe and in every variant."""

SEEDS = (1, 2, 3)
STEPS = 300
"""Of the recipe: on one core a run stays below 45 seconds."""

VARIANTS: dict[str, dict[str, Any]] = {
    BASE: {},
    # the optimizer and its rates
    "adamw": {"optimizer": "adamw", "learning_rate": 1e-3, "min_lr": 1e-5},
    "adamw-fast": {"optimizer": "adamw", "learning_rate": 3e-3, "min_lr": 3e-5},
    "muon-slower": {"muon_learning_rate": 0.01},
    "rate-lower": {"learning_rate": 2e-3, "min_lr": 2e-5},
    "cosine": {"decay": "cosine"},
    "late-decay": {"decay_iters": 180},
    # what holds against overfitting
    "weight-decay": {"weight_decay": 0.1},
    "dropout": {"dropout": 0.1},
    "patience": {"patience": 2, "eval_interval": 50},
    # the shape
    "no-qk-norm": {"qk_norm": False},
    "learned-positions": {"positions": "learned"},
    "layernorm": {"norm": "layernorm", "norm_eps": 1e-5},
    "relu2": {"activation": "relu2"},
    "tied": {"tie_weights": True},
    "init-normal": {"init": "normal"},
    # other recipes as a whole
    "gpt2": {"preset": "gpt2"},
}
"""Variant -> the flat settings, by the flags' names, in which it differs from the default recipe."""


def main(argv: Sequence[str] | None = None) -> int:
    chosen = arguments().parse_args(argv)
    try:
        return act(chosen)
    except ClearheadError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def act(chosen: argparse.Namespace) -> int:
    """Do what the flags ask for; the exit code."""
    if chosen.page:
        recipe_page.write(chosen.results)
        return 0
    variants = {BASE: VARIANTS[BASE], **pick("variant", chosen.only or VARIANTS, VARIANTS)}
    corpora = pick("corpus", chosen.corpora or CORPORA, CORPORA)
    share_cores()  # before torch comes along
    import recipe_runs

    recipe_runs.use_threads(chosen.threads)
    planned = recipe_runs.plan(variants, corpora, chosen.seeds, chosen.steps)
    if chosen.list:
        lines = recipe_runs.overview(planned, chosen.results)
    elif chosen.speed:
        lines = recipe_runs.measure_speeds(planned, chosen.results)
    else:
        lines = recipe_runs.measure_missing(planned, chosen.results)
    for line in lines:
        print(line, flush=True)
    return 0


def pick(kind: str, names: Sequence[str] | Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Some of what is known, in the order asked for; ConfigError for a name that is not there."""
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {kind} '{name}': {did_you_mean(name, known)}")
    return {name: known[name] for name in names}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants, and the recipe itself")
    parser.add_argument("--corpora", nargs="+", metavar="CORPUS", help=f"of {', '.join(CORPORA)} (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="SEED", help="(default: 1 2 3)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the recipe (default: {STEPS})")
    parser.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of lines (default: recipe.jsonl here)")
    acts = parser.add_mutually_exclusive_group()
    acts.add_argument("--list", action="store_true", help="show the variants and what is measured; run nothing")
    acts.add_argument("--speed", action="store_true", help="measure seconds per step beside the recipe, no losses")
    acts.add_argument("--page", action="store_true", help="write docs/recipe.md and nothing else")
    return parser


if __name__ == "__main__":
    sys.exit(main())
