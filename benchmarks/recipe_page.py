"""docs/recipe.md, written from benchmarks/recipe.jsonl: what each ingredient of the default recipe is worth."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe_results import BASE, Result, Speed, flat, read

from clearhead.errors import ConfigError
from clearhead.files import write_atomic

PAGE = Path(__file__).parents[1] / "docs" / "recipe.md"

HEAD = """\
# What the recipe is made of

Each ingredient of the default recipe is here because taking it away, or putting another in its place, was measured. A
variant is the recipe with one thing changed. All runs of a table start from the same seeds and see the same number of
tokens; only the change differs. The default model is small and the runs are short: what helps here may not help a large
model, or a long run.

How to read a table:

- **dev** decides. It is the loss of the variant minus the loss of the recipe with the same seed, in nats per token
  over the whole dev split: above 0, the variant is worse, so the recipe's ingredient earns its place. The mean over
  seeds comes first, then the lowest and the highest. Rows are sorted by it.
- **val** and **train** are the same differences on the validation split, which decides nothing, and on random batches
  of the training text. A variant that gains on train and loses on dev learns by heart.
- **time** is the time for the same number of tokens, measured by itself, the recipe's being 1.
- **verdict**: "worse" or "better" when the mean difference is larger than the distance between the seeds, else "not
  told apart". A run whose loss was no longer a number "diverges".

To measure again, in the background, a line of `benchmarks/recipe.jsonl` for each run; a run that is there is skipped:

```sh
nohup nice python benchmarks/recipe.py &
python benchmarks/recipe.py --speed
python benchmarks/recipe.py --page
```

This page is written by the last of these commands. [The ladder](ladder.md) tells what a loss means, and
[Training](training.md) what each setting does.
"""


@dataclass(frozen=True)
class Row:
    """One variant held against the recipe, seed by seed."""

    variant: str
    pairs: Sequence[tuple[Result, Result]]
    """(the variant, the recipe) with the same seed."""
    speed: Speed | None

    def differences(self, loss: str) -> list[float]:
        """Variant minus recipe in nats per token, for each seed where neither diverged."""
        both = [(getattr(mine, loss), getattr(base, loss)) for mine, base in self.pairs]
        return [mine - base for mine, base in both if mine is not None and base is not None]

    @property
    def diverged(self) -> int:
        """On how many seeds the variant did."""
        return sum(mine.dev is None for mine, _ in self.pairs)

    @property
    def effect(self) -> float:
        """What the table is sorted by: the mean difference on dev, infinite where a loss is missing."""
        found = self.differences("dev")
        return mean(found) if len(found) == len(self.pairs) else math.inf

    @property
    def verdict(self) -> str:
        """In words."""
        if self.diverged:
            return f"diverges on {self.diverged} of {len(self.pairs)}"
        found = self.differences("dev")
        if len(found) < 2:
            return "too few seeds"
        if abs(self.effect) <= max(found) - min(found):
            return "not told apart"
        return "worse" if self.effect > 0 else "better"


def write(results: Path) -> None:
    """Write the page of a file of results; ConfigError when there are none."""
    if not (lines := read(results)):
        raise ConfigError(f"{results} holds no results yet; measure some with: python benchmarks/recipe.py")
    write_atomic(PAGE, render(lines))


def render(lines: Sequence[Result | Speed]) -> str:
    """The page as Markdown: a table for each corpus, held against the recipe that was measured there last."""
    results = [line for line in lines if isinstance(line, Result)]
    speeds = [line for line in lines if isinstance(line, Speed)]
    newest = {result.corpus: result for result in results if result.variant == BASE}
    parts = (section([result for result in results if same_table(result, base)], speeds) for base in newest.values())
    return "\n".join([HEAD, *parts])


def same_table(result: Result, base: Result) -> bool:
    """Whether a result is held against this recipe, of any seed, on this text."""
    mine, theirs = ({**flat(line.base_config), "seed": None} for line in (result, base))
    return (result.sha256, mine) == (base.sha256, theirs)


def section(results: Sequence[Result], speeds: Sequence[Speed]) -> str:
    """The recipe on one corpus in a paragraph, and the table of its variants."""
    bases = {result.seed: result for result in results if result.variant == BASE}
    names = dict.fromkeys(result.variant for result in results if result.variant != BASE)
    found = (row_of(name, results, bases, speeds) for name in names)
    rows = sorted((row for row in found if row.pairs), key=lambda row: -row.effect)
    header = ("variant", "change", "dev", "lowest .. highest", "val", "train", "seeds", "time", "verdict")
    told = [table(header, [cells(row) for row in rows])] if rows else []
    about = "\n\n".join([recipe_in_words(list(bases.values())), *told])
    return f"## {results[0].corpus}\n\n{about}\n\n{origin(results)}\n"


def row_of(name: str, results: Sequence[Result], bases: Mapping[int, Result], speeds: Sequence[Speed]) -> Row:
    """The newest form of a variant, a result for each seed."""
    mine = [result for result in results if result.variant == name]
    now = {result.seed: result for result in mine if result.settings == mine[-1].settings}
    pairs = [(result, bases[seed]) for seed, result in sorted(now.items()) if seed in bases]
    speed = next((speed for speed in reversed(speeds) if speed.costs == mine[-1].costs), None)
    return Row(name, pairs, speed)


def recipe_in_words(bases: Sequence[Result]) -> str:
    """What the variants are held against: steps, text seen, losses."""
    train = bases[0].config.train
    seen = bases[0].steps * train.batch_size * train.block_size
    seconds = statistics.median(base.seconds for base in bases)
    losses = "; ".join(f"{loss} {spread(bases, loss)}" for loss in ("dev", "val", "train"))
    return (
        f"The recipe itself, in nats per token: {losses}. Seeds {', '.join(str(base.seed) for base in bases)}; "
        f"{bases[0].steps:,} steps of {train.batch_size} x {train.block_size} tokens, which is "
        f"{seen / bases[0].train_tokens:.2g} times the training text; about {seconds:.0f} s."
    )


def spread(bases: Sequence[Result], loss: str) -> str:
    """The mean of a loss with its lowest and highest."""
    found = [value for base in bases if (value := getattr(base, loss)) is not None]
    return f"{mean(found):.4f} ({min(found):.4f} .. {max(found):.4f})" if found else "diverged"


def cells(row: Row) -> list[str]:
    """A row of the table."""
    dev = row.differences("dev")
    changes, base = row.pairs[0][0].settings, flat(row.pairs[0][1].config)
    return [
        row.variant,
        in_words(changes, base),
        signed(dev),
        f"{min(dev):+.4f} .. {max(dev):+.4f}" if dev else "",
        signed(row.differences("val")),
        signed(row.differences("train")),
        str(len(row.pairs)),
        f"{row.speed.ratio:.2f}" if row.speed else "",
        row.verdict,
    ]


def in_words(changes: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """Settings before and after; of another preset its name says it all."""
    shown = ["preset"] if "preset" in changes else list(changes)
    return ", ".join(f"`{name}` {said(base[name])} → {said(changes[name])}" for name in shown)


def said(value: Any) -> str:
    """A setting as its flag takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def signed(differences: Sequence[float]) -> str:
    return f"{mean(differences):+.4f}" if differences else ""


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def origin(results: Sequence[Result]) -> str:
    """When and on what the runs were made."""
    days = sorted({result.date for result in results})
    machines = dict.fromkeys(machine_in_words(result.machine) for result in results)
    return f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}; {'; or '.join(machines)}."


def machine_in_words(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{package} {machine[package]}" for package in ("python", "torch", "numpy", "clearhead"))
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, {threads}; {versions}"
