"""Encoding and decoding rates, beside the lecture's `[stoi[c] for c in text]`, in one run.

    python benchmarks/token_rates.py input.txt --megabytes 20 --json

Rates are megabytes of UTF-8 per second, the best of --repeats; the two texts are the file, repeated to size, and a
mixture of scripts.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clearhead.tokenizers.byte import ByteTokenizer
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer

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
    for kind in (CharTokenizer, ByteTokenizer, WordTokenizer):
        tokenizer = kind.train([text])
        ids = tokenizer.encode(text)
        encode, decode = rate(lambda t=tokenizer: t.encode(text)), rate(lambda t=tokenizer, i=ids: t.decode(i))
        rows.append({"tokenizer": tokenizer.name, "encode_mb_s": encode, "decode_mb_s": decode})
        if kind is CharTokenizer:
            assert ids.tolist() == lecture_ids, "the char tokenizer's ids are the lecture's"
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="a text in UTF-8")
    parser.add_argument("--megabytes", type=float, default=10.0, help="size of each text")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    asked = parser.parse_args()
    results = {}
    for name, sample in (("text", asked.text.read_text(encoding="utf-8")), ("mixed", MIXED)):
        copies = max(1, round(asked.megabytes * 1e6 / len(sample.encode())))
        results[name] = measure(sample * copies, asked.repeats)
    if asked.json:
        print(json.dumps(results, indent=1))
        return
    for name, rows in results.items():
        for row in rows:
            print(f"{name:6} {row['tokenizer']:8} encode {row['encode_mb_s']:8} decode {row['decode_mb_s']:8} MB/s")


if __name__ == "__main__":
    main()
