"""Texts of any size: what a process writes per second, beside others, and a large text prepared by one command.

    python benchmarks/shards.py input.txt --megabytes 64 --gigabytes 1 --json

The text is the file, repeated to size. Rates are megabytes of UTF-8 per second of processor time, in turns with what
they are held against: the lecture's list comprehension for characters, and for BPE the library's own
`encode_batch_fast` on the same parts, which neither reads nor writes. The large text is prepared by the command line,
with one worker per core; its memory is that of all its processes together, looked at ten times a second.
"""

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import PYTHON, arguments, show
from tokenizers import Tokenizer as Library

from clearhead.config import DataConfig
from clearhead.data.manifest import TOKENIZER
from clearhead.data.preparing.encoding import EncodeTask, encode
from clearhead.data.preparing.parts import Reading
from clearhead.data.preparing.planning import grouped, plan
from clearhead.data.preparing.scanning import ScanTask, scan
from clearhead.data.preparing.spans import TextFile, blocks
from clearhead.runtime import keep_memory, share_threads
from clearhead.tokenizers.base import Tokenizer, save_tokenizer
from clearhead.tokenizers.bpe import BPETokenizer
from clearhead.tokenizers.char import CharTokenizer

LINES = 1_000
"""Of a part that the library is given."""
BPE_MEGABYTES = 8


def repeated(text: bytes, target: Path, size: float) -> Path:
    """A file of about so many bytes that holds a text again and again."""
    many = text * max(1, round(min(size, 64e6) / len(text)))
    with target.open("wb") as file:
        while file.tell() + len(many) // 2 < size:
            file.write(many)
    return target


class Shop:
    """A text's blocks, looked at and encoded in this process as a worker does it."""

    def __init__(self, text: Path, folder: Path, tokenizer: Tokenizer) -> None:
        self.folder, self.work = folder, folder / ".work"
        self.work.mkdir(parents=True)
        save_tokenizer(tokenizer, self.work / TOKENIZER)
        groups = grouped(list(blocks([TextFile.of(str(text), DataConfig())])), 1 << 25)
        reading, characters = Reading(DataConfig()), tokenizer.name == "char"
        self.scans = [
            ScanTask(self.work / f"scan-{number:05}.safetensors", group, reading, False, characters)
            for number, group in enumerate(groups)
        ]
        self.look()
        self.tasks: tuple[EncodeTask, ...] = plan(folder, self.scans, reading, by_document=False).tasks

    def look(self) -> None:
        """The first pass."""
        for task in self.scans:
            scan(task)

    def encode(self) -> None:
        """The second pass."""
        for task in self.tasks:
            encode(task)


def in_turns(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of processor time of each side, after one round that warms up."""
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(repeats + 1):
        for side, call in sides.items():
            start = time.process_time()
            call()
            if repeat:
                taken[side].append(time.process_time() - start)
    return taken


def characters(text: bytes, folder: Path, megabytes: float, repeats: int) -> dict[str, Any]:
    """Character shards, beside the lecture's ids written to a file."""
    path = repeated(text, folder / "characters.txt", megabytes * 1e6)
    told = text.decode()
    stoi = {c: i for i, c in enumerate(sorted(set(told)))}
    shop = Shop(path, folder / "characters", CharTokenizer.train([told]))

    def lecture() -> None:
        np.array([stoi[c] for c in told], dtype=np.uint16).tofile(folder / "lecture.bin")

    taken = in_turns({"look": shop.look, "encode": shop.encode, "lecture": lecture}, repeats)
    size = path.stat().st_size
    rates = {
        side: [(len(text) if side == "lecture" else size) / 1e6 / seconds for seconds in all_seconds]
        for side, all_seconds in taken.items()
    }
    both = [size / 1e6 / (look + code) for look, code in zip(taken["look"], taken["encode"], strict=True)]
    ratios = [ours / theirs for ours, theirs in zip(both, rates["lecture"], strict=True)]
    return {
        "megabytes": round(size / 1e6),
        **{f"{side}_mb_s": round(statistics.median(each), 1) for side, each in rates.items()},
        "look_and_encode_mb_s": round(statistics.median(both), 1),
        "times_the_lecture": round(statistics.median(ratios), 1),
    }


def bpe(text: bytes, folder: Path, repeats: int) -> dict[str, Any]:
    """BPE shards, beside the library on the same text in parts of whole lines."""
    path = repeated(text, folder / "bpe.txt", BPE_MEGABYTES * 1e6)
    tokenizer = BPETokenizer.train([text.decode()])
    library = Library.from_str(json.dumps(tokenizer.to_dict()["tokenizer"]))
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    parts = ["".join(lines[i : i + LINES]) for i in range(0, len(lines), LINES)]
    shop = Shop(path, folder / "bpe", tokenizer)
    taken = in_turns({"ours": shop.encode, "library": lambda: library.encode_batch_fast(parts)}, repeats)
    ratios = [theirs / ours for ours, theirs in zip(taken["ours"], taken["library"], strict=True)]
    size = path.stat().st_size / 1e6
    return {
        "megabytes": round(size),
        "vocab_size": tokenizer.vocab_size,
        **{f"{side}_mb_s": round(size / statistics.median(seconds), 2) for side, seconds in taken.items()},
        "of_the_library": round(statistics.median(ratios), 3),
        "least_of_the_library": round(min(ratios), 3),
    }


@dataclass(frozen=True)
class Prepared:
    """A command that has ended."""

    told: dict[str, Any]
    """Its JSON."""
    seconds: float
    peak: int
    """The most bytes that were resident in all its processes together."""


def prepared(*words: str) -> Prepared:
    """Run `clearhead prepare` and watch its processes; SystemExit when it fails. Linux."""
    start, peak = time.perf_counter(), 0
    argv = [PYTHON, "-m", "clearhead", "prepare", *words, "--json"]
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            peak = max(peak, sum(map(resident, family(process.pid))))
            time.sleep(0.1)
        out.seek(0)
        told = out.read()
    if process.returncode:
        raise SystemExit(f"clearhead prepare {' '.join(words)} failed with {process.returncode}")
    return Prepared(json.loads(told), time.perf_counter() - start, peak)


def family(parent: int) -> list[int]:
    """A process and its children."""
    try:
        told = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    except OSError:
        return [parent]
    return [parent, *(number for child in told.split() for number in family(int(child)))]


def resident(process: int) -> int:
    """Bytes of a process that are in memory; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def one_command(text: bytes, folder: Path, gigabytes: float, tokenizer: str) -> dict[str, Any]:
    """A large text prepared by one command."""
    path = repeated(text, folder / "large.txt", gigabytes * 1e9)
    made = prepared(str(path), "--out", str(folder / f"large-{tokenizer}"), "--tokenizer", tokenizer)
    size = path.stat().st_size
    return {
        "megabytes": round(size / 1e6),
        "tokenizer": made.told["tokenizer"],
        "shards": made.told["shards"],
        "wall_seconds": round(made.seconds, 1),
        "mb_s": round(size / 1e6 / made.seconds, 1),
        "peak_memory_mb": round(made.peak / 1e6),
    }


def measure(corpus: Path, megabytes: float, gigabytes: float, repeats: int = 5) -> dict[str, Any]:
    """All figures."""
    share_threads(1 << 10)
    keep_memory()
    text = corpus.read_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, Any] = {
            "characters": characters(text, folder, megabytes, repeats),
            "bpe": bpe(text, folder, repeats),
        }
        if gigabytes:
            figures["one_command"] = [one_command(text, folder, gigabytes, kind) for kind in ("char", "bpe")]
    return figures


def main() -> None:
    parser = arguments("Shards: rates beside others, and a large text prepared by one command.")
    parser.add_argument("text", type=Path, help="a text in UTF-8")
    parser.add_argument("--megabytes", type=float, default=64.0, help="of character shards")
    parser.add_argument(
        "--gigabytes", type=float, default=1.0, help="of the text that one command prepares; 0 for none"
    )
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    show(measure(asked.text, asked.megabytes, asked.gigabytes, asked.repeats), asked.json)


if __name__ == "__main__":
    main()
