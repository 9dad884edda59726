"""Encoding and decoding rates, beside the lecture's `[stoi[c] for c in text]` and the library under BPE, in one run.

    python benchmarks/token_rates.py input.txt --megabytes 20 --json

Rates are megabytes of UTF-8 per second, the best of --repeats; the two texts are the file, repeated to size, and a
mixture of scripts. The library encodes the same parts of the text in one batch by its `encode_batch`, in turns with
ours, by the processor's time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer as Library

from clearhead.tokenizers.bpe import BPETokenizer
from clearhead.tokenizers.byte import ByteTokenizer
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer

LINES = 1_000
"""Of a part that the library is given."""
MIXED = "Straße, Ångström — 日本語の文章 и русский текст 😀. क्या? Ελληνικά\n"


def measure(text: str, repeats: int) -> list[dict[str, Any]]:
    size = len(text.encode()) / 1e6

    def rate(call: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(repeats):
            start = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - start)
        return round(size / best, 1)

    stoi = {c: i for i, c in enumerate(sorted(set(text)))}
    itos = dict(enumerate(stoi))
    lecture_ids = [stoi[c] for c in text]
    rows = [
        {
            "tokenizer": "lecture",
            "encode_mb_s": rate(lambda: [stoi[c] for c in text]),
            "decode_mb_s": rate(lambda: "".join([itos[i] for i in lecture_ids])),
        }
    ]
    for kind in (CharTokenizer, ByteTokenizer, WordTokenizer, BPETokenizer):
        tokenizer = kind.train([text])
        ids = tokenizer.encode(text)
        encode, decode = rate(lambda t=tokenizer: t.encode(text)), rate(lambda t=tokenizer, i=ids: t.decode(i))
        rows.append({"tokenizer": tokenizer.name, "encode_mb_s": encode, "decode_mb_s": decode})
        if kind is CharTokenizer:
            assert ids.tolist() == lecture_ids, "the char tokenizer's ids are the lecture's"
    return rows


def beside_the_library(text: str, repeats: int) -> dict[str, Any]:
    """Megabytes per processor second of our `encode` and of the library's `encode_batch`, ids in numpy for both."""
    tokenizer = BPETokenizer.train([text])
    library = Library.from_str(json.dumps(tokenizer.to_dict()["tokenizer"]))
    lines = text.splitlines(keepends=True)
    batch = ["".join(lines[i : i + LINES]) for i in range(0, len(lines), LINES)]
    sides: dict[str, Callable[[], Any]] = {
        "ours": lambda: tokenizer.encode(text),
        "library": lambda: [np.array(each.ids, np.uint16) for each in library.encode_batch(batch)],
    }
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(repeats + 1):
        for side, call in sides.items():
            start = time.process_time()
            call()
            if repeat:  # the first fills the library's cache of words
                taken[side].append(time.process_time() - start)
    size = len(text.encode()) / 1e6
    ratios = [theirs / ours for ours, theirs in zip(taken["ours"], taken["library"], strict=True)]
    rates = {f"{side}_mb_per_processor_second": round(size / min(seconds), 2) for side, seconds in taken.items()}
    return {**rates, "ratio": round(statistics.median(ratios), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="a text in UTF-8")
    parser.add_argument("--megabytes", type=float, default=10.0, help="size of each text")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    asked = parser.parse_args()
    results, besides = {}, {}
    for name, sample in (("text", asked.text.read_text(encoding="utf-8")), ("mixed", MIXED)):
        copies = max(1, round(asked.megabytes * 1e6 / len(sample.encode())))
        results[name] = measure(sample * copies, asked.repeats)
        besides[name] = beside_the_library(sample * copies, asked.repeats)
    if asked.json:
        print(json.dumps({"rates": results, "bpe_beside_the_library": besides}, indent=1))
        return
    for name, rows in results.items():
        for row in rows:
            print(f"{name:6} {row['tokenizer']:8} encode {row['encode_mb_s']:8} decode {row['decode_mb_s']:8} MB/s")
        print(f"{name:6} bpe beside the library: {besides[name]}")


if __name__ == "__main__":
    main()
