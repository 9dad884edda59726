"""`clearhead prepare`: a text of any size becomes a folder of tokens."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.cli.arguments import Reading, Switch, Words, parse
from clearhead.config import SHARD_TOKENS
from clearhead.errors import ConfigError

if TYPE_CHECKING:
    from clearhead.data.manifest import Manifest
    from clearhead.data.preparing.sharding import Progress

STEPS = {"look": "looking", "learn": "learning the tokenizer", "encode": "encoding", "verify": "verifying"}


@dataclass(frozen=True, kw_only=True)
class Arguments(Reading):
    """Make a text of any size ready for training: shards of tokens and a manifest, in a folder that train takes.

    SOURCE is a file, several, a folder, a glob, .gz, .jsonl, or a named corpus. Memory stays bounded whatever the size.
    A command that was killed goes on when it is given again. Given again for a finished folder, or with --out alone, it
    reads every byte of the folder and tells whether it is what was written.
    """

    sources: Words = ()
    """The text."""
    out: Path | None = None
    """The folder to make."""
    workers: int | None = None
    """Processes that read and encode (default: one per core)."""
    shard_tokens: int = SHARD_TOKENS
    """Tokens of a shard, at most about: a shard is made of so many bytes of text."""
    weights: tuple[float, ...] = ()
    """How much of what training draws is from each source (such as 0.7 0.3); default: as much as its size gives."""
    json: Switch = False
    """Print one JSON document; progress goes to standard error."""


def run(argv: Sequence[str]) -> int:
    """Prepare, or verify, and print the folder."""
    arguments = parse(Arguments, "prepare", argv)
    if arguments.out is None:
        raise ConfigError("the folder is missing: clearhead prepare SOURCE... --out FOLDER")

    from clearhead.cli.report import print_json
    from clearhead.data.preparing.sharding import Order, make_shards, verify
    from clearhead.models.tally import cores

    order = Order(
        arguments.data, arguments.tokenizer, arguments.shard_tokens, arguments.workers or cores(), arguments.weights
    )
    line = Line()
    if arguments.sources:
        manifest = make_shards(arguments.sources, arguments.out, order, line.show)
    else:
        manifest = verify(arguments.out, line.show)
    line.end()
    if arguments.json:
        print_json({"folder": str(arguments.out), "seconds": round(line.seconds, 1), **summary(manifest)})
    else:
        _show(manifest, line)
        print(arguments.out)
    return 0


def summary(manifest: "Manifest") -> dict[str, Any]:
    """What a script wants to know of a folder."""
    return {
        "name": manifest.name,
        "tokenizer": manifest.tokenizer,
        "vocab_size": manifest.vocab_size,
        "dtype": manifest.dtype,
        "shards": len(manifest.shards),
        "splits": manifest.splits,
        "sources": [{"name": s.name, "bytes": s.bytes, "weight": s.weight} for s in manifest.sources],
        "val_sha256": manifest.val_sha256,
        "notices": list(manifest.notices),
    }


def _show(manifest: "Manifest", line: "Line") -> None:
    from clearhead.training.console import duration

    print(f"{manifest.name}: {manifest.vocab_size:,} {manifest.tokenizer} tokens, {duration(line.seconds)}")
    for split, figures in manifest.splits.items():
        documents = f"{figures['documents']:,} document{'s' * (figures['documents'] != 1)}"
        print(f"  {split:<5} {figures['characters']:>15,} characters {figures['tokens']:>15,} tokens  {documents}")
    for notice in manifest.notices:
        print(f"note: {notice}")


@dataclass
class Line:
    """One line on standard error that says how far it is, anew once a second; on no terminal, once a step."""

    begun: float = field(default_factory=time.perf_counter)
    _step: str = ""
    _step_begun: float = 0.0
    _step_done: int = 0
    _shown: float = 0.0
    _ended: bool = False

    @property
    def seconds(self) -> float:
        """Since the command began."""
        return time.perf_counter() - self.begun

    def show(self, progress: "Progress") -> None:
        """Say how far a step is, and how long it should still take at its pace."""
        now = time.perf_counter()
        if progress.step != self._step:
            self.end()
            self._step, self._step_begun, self._step_done, self._shown = progress.step, now, progress.done, 0.0
        last = progress.done >= progress.total
        if (now - self._shown < 1 and not last) or (not sys.stderr.isatty() and not last):
            return
        self._shown = now
        print(
            f"\r\x1b[K{self._said(progress, now)}" if sys.stderr.isatty() else self._said(progress, now),
            file=sys.stderr,
            end="",
        )
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line behind."""
        if self._shown:
            print(file=sys.stderr)
            self._shown = 0.0

    def _said(self, progress: "Progress", now: float) -> str:
        from clearhead.training.console import duration

        share = progress.done / max(1, progress.total)
        said = f"{STEPS[progress.step]}: {progress.done / 1e6:,.0f} of {progress.total / 1e6:,.0f} MB ({share:.0%})"
        took, came = now - self._step_begun, progress.done - self._step_done
        if not came:
            return said
        left = took / came * (progress.total - progress.done)
        return f"{said}, {came / 1e6 / max(took, 1e-9):,.0f} MB/s" + (f", {duration(left)} left" if left else "")
