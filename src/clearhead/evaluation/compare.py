"""Is one run better than another, or is it chance? Their losses on the same validation text, block by block."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from glob import glob
from pathlib import Path
from statistics import fmean
from typing import Any

from clearhead.errors import CheckpointError, ConfigError, CorpusError
from clearhead.evaluation.alignment import Float64, Scored, align, same_tokens
from clearhead.evaluation.bootstrap import BLOCK, LEAST_BLOCKS, RESAMPLES, SEED, Interval, difference, in_blocks
from clearhead.evaluation.loss import measured
from clearhead.runs.directory import RunDirectory, find_run, is_run

FREE_SETTINGS = {"train.seed", "train.device"}
"""In these the runs of one side may differ: the seed is what is varied, the device is only where."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: runs of one configuration, and the loss of each."""

    runs: tuple[str, ...]
    model: str
    tokenizer: str
    nats_per_token: tuple[float, ...]
    bits_per_char: tuple[float, ...]

    @property
    def mean_nats_per_token(self) -> float:
        """Over the runs."""
        return fmean(self.nats_per_token)

    @property
    def mean_bits_per_char(self) -> float:
        """Over the runs."""
        return fmean(self.bits_per_char)


@dataclass(frozen=True)
class Comparison:
    """Side A against side B on one validation text. Differences are A minus B: below 0, A is better."""

    corpus: str
    val_characters: int
    a: Side
    b: Side
    bits_per_char: Interval
    nats_per_token: Interval | None
    """None when the sides have different tokenizers."""
    blocks: int
    notes: tuple[str, ...]
    """What the interval does not hold."""

    @property
    def better(self) -> str | None:
        """ "A" or "B"; None when the interval holds 0."""
        if self.bits_per_char.low <= 0 <= self.bits_per_char.high:
            return None
        return "A" if self.bits_per_char.value < 0 else "B"

    @property
    def verdict(self) -> str:
        """What the figures say, in one line."""
        unit, found = "bits per character", self.bits_per_char
        if self.nats_per_token is not None:
            unit, found = "nats per token", self.nats_per_token
        if self.better is None:
            return f"no difference shown: A - B is {found.value:+.4f} {unit} (95 % {found})"
        low, high = sorted((abs(found.low), abs(found.high)))
        return f"{self.better} is better by {abs(found.value):.4f} {unit} (95 % {low:.4f} .. {high:.4f})"

    def __str__(self) -> str:
        """A table for a person, the verdict, and what it does not know."""
        bits, nats = self.bits_per_char, self.nats_per_token
        rows = [
            ("", "nats per token", "bits per character", ""),
            *_side_rows("A", self.a),
            *_side_rows("B", self.b),
            ("A - B", f"{nats.value:+.4f}" if nats else "", f"{bits.value:+.4f}", ""),
            (
                "95 %",
                str(nats or ""),
                str(bits),
                f"{self.blocks} blocks, drawn {RESAMPLES:,} times for both sides alike",
            ),
        ]
        width = max(len(row[0]) for row in rows)
        lines = [f"{name:<{width}}  {nats:>20}  {bits:>20}  {about}".rstrip() for name, nats, bits, about in rows]
        title = f"A against B on {self.corpus} ({self.val_characters:,} validation characters)"
        return "\n".join([title, *lines, self.verdict, *self.notes])


def named_runs(side: str, out: Path) -> list[RunDirectory]:
    """The runs of one side: paths, names in `out` and patterns of either, with commas between them.

    CheckpointError when there is no such run.
    """
    found: list[RunDirectory] = []
    for word in [side] if is_run(Path(side)) else map(str.strip, side.split(",")):
        if is_run(Path(word)) or not any(sign in word for sign in "*?["):
            found.append(find_run(word, out))
            continue
        matches = [sorted(glob(pattern)) for pattern in (word, str(out / word))]
        runs = next(filter(None, ([RunDirectory(Path(m)) for m in match if is_run(Path(m))] for match in matches)), [])
        if not runs:
            raise CheckpointError(f"no run matches '{word}', here or in {out}; clearhead runs lists them")
        found += runs
    return found


def check_sides(a: Sequence[RunDirectory], b: Sequence[RunDirectory]) -> None:
    """Refuse what cannot be compared, before any model is read.

    ConfigError when runs of a side differ in more than their seed, or the validation texts differ; CorpusError
    when there is no validation text.
    """
    for name, side in (("A", a), ("B", b)):
        if not side:
            raise ConfigError(f"side {name} of the comparison has no run; name one or more")
        _check_side(side)
    first, other = a[0].read_corpus(), b[0].read_corpus()
    if first["val_sha256"] != other["val_sha256"]:
        raise ConfigError(
            f"'{a[0].name}' and '{b[0].name}' have different validation texts "
            f"({first['val_sha256'][:12]} and {other['val_sha256'][:12]}); compare runs of one text"
        )
    if not first["val_sha256"]:
        raise CorpusError(f"'{first['name']}' is too short to hold any validation text back; give a longer text")


def compare_losses(a: Sequence[Scored], b: Sequence[Scored], seed: int = SEED) -> Comparison:
    """Both sides on the common pieces of their text; the runs have passed `check_sides`. `seed` is the resampling's.

    ConfigError when the text has too few pieces that all tokenizers can tell apart.
    """
    everyone = [*a, *b]
    same = same_tokens(everyone)
    bits, characters = common_blocks(everyone)
    blocks = len(characters)
    found = difference(bits[: len(a)], bits[len(a) :], characters, seed)
    meta = a[0].data.meta
    to_nats = math.log(2) * meta.characters["val"] / len(a[0].losses)
    sides = _side(a), _side(b)
    return Comparison(
        corpus=meta.name,
        val_characters=meta.characters["val"],
        a=sides[0],
        b=sides[1],
        bits_per_char=found,
        nats_per_token=found.times(to_nats) if same else None,
        blocks=blocks,
        notes=tuple(_notes(*sides, same, blocks, meta.characters["val"])),
    )


def common_blocks(scored: Sequence[Scored]) -> tuple[Float64, Float64]:
    """Bits (R, n) of R runs in n blocks of the text that all can tell apart, and the blocks' characters (n,).

    ConfigError when there are too few of them.
    """
    bits, characters = in_blocks(align(scored))
    if (blocks := len(characters)) < LEAST_BLOCKS:
        raise ConfigError(
            f"only {blocks} {'tokens' if same_tokens(scored) else 'lines'} of validation text can be told apart, "
            f"{LEAST_BLOCKS} blocks are the least; give a longer text, or runs of one tokenizer"
        )
    return bits, characters


def _side(runs: Sequence[Scored]) -> Side:
    losses = [measured(float(run.losses.sum()), run.data, "val") for run in runs]
    return Side(
        runs=tuple(run.run for run in runs),
        model=runs[0].model,
        tokenizer=runs[0].tokenizer.name,
        nats_per_token=tuple(loss.nats_per_token for loss in losses),
        bits_per_char=tuple(loss.bits_per_char for loss in losses),
    )


def _side_rows(name: str, side: Side) -> Iterator[tuple[str, str, str, str]]:
    """The mean of a side, and where there are several runs, each of them."""
    means = f"{side.mean_nats_per_token:.4f}", f"{side.mean_bits_per_char:.4f}"
    about = f"{side.model}, {side.tokenizer} tokens"
    if len(side.runs) == 1:
        yield name, *means, f"{side.runs[0]}: {about}"
        return
    yield name, *means, f"mean of {len(side.runs)} seeds: {about}"
    for run, nats, bits in zip(side.runs, side.nats_per_token, side.bits_per_char, strict=True):
        yield "", f"{nats:.4f}", f"{bits:.4f}", run


def _notes(a: Side, b: Side, same: bool, blocks: int, characters: int) -> Iterator[str]:
    alone = [name for name, side in (("A", a), ("B", b)) if len(side.runs) == 1 and side.model != "ngram"]
    if alone:
        who = "A and B are one run each" if len(alone) == 2 else f"{alone[0]} is one run"
        yield f"{who}: what another seed would change is not in the interval; name several runs, of several seeds"
    if not same:
        yield "different tokenizers: compared in bits per character, on blocks of whole lines"
    if characters / blocks < BLOCK / 2:
        yield (
            f"the validation text is short, and so are its blocks: {characters // blocks:,} characters, not {BLOCK:,}; "
            "the interval may be too narrow"
        )


def _check_side(runs: Sequence[RunDirectory]) -> None:
    """ConfigError when runs are not one configuration, trained to its end with several seeds."""
    first, seeds = runs[0], dict[int, str]()
    ours = _settings(first)
    for run in runs:
        theirs = _settings(run)
        for name in sorted(ours.keys() | theirs.keys()):
            if name not in FREE_SETTINGS and ours.get(name) != theirs.get(name):
                raise ConfigError(
                    f"'{first.name}' and '{run.name}' differ in {name}: {ours.get(name)} and {theirs.get(name)}; "
                    "the runs of one side may differ in their seed only"
                )
        if (seed := theirs["train.seed"]) in seeds:
            raise ConfigError(
                f"'{seeds[seed]}' and '{run.name}' have the same seed {seed}, so they are one run twice; "
                "name one of them"
            )
        seeds[seed] = run.name
        if len(runs) > 1 and not _at_its_end(run):
            raise ConfigError(f"'{run.name}' is not at its end; finish it with: clearhead resume {run.path}")


def _settings(run: RunDirectory) -> dict[str, Any]:
    """The settings of a run by dotted name, and the text and tokenizer it learned from."""
    sections = asdict(run.read_config())
    flat = {
        f"{name}.{key}": value
        for name, section in sections.items()
        if isinstance(section, dict)
        for key, value in section.items()
    }
    own = {name: value for name, value in sections.items() if not isinstance(value, dict)}
    return {
        **own,
        **flat,
        "text": run.read_corpus()["sha256"][:12],
        "vocabulary": run.read_tokenizer().fingerprint[:12],
    }


def _at_its_end(run: RunDirectory) -> bool:
    return any(event["event"] == "finished" and event["reason"] != "interrupted" for event in run.read_events())
