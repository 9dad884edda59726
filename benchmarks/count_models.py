"""Counted models on a text: seconds to fit each order, the order that dev chooses, loss on validation, memory.

    python benchmarks/count_models.py --corpus input.txt [--json] [--lmplz path/to/kenlm/bin/lmplz]

Characters are tokens, the text is one document, and the splits are the house's: the last tenth validates, the last
fiftieth of the rest is dev. With --lmplz, KenLM estimates the same orders on the same training text.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from clearhead.config import DEV_FRACTION, VAL_FRACTION
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.counting import BYTES_PER_NGRAM
from clearhead.models.ngram import NgramLanguageModel, choose_order
from clearhead.models.windows import Ids

ORDERS = range(1, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time counted models on a text.")
    parser.add_argument("--corpus", type=Path, required=True, help="a text file in UTF-8")
    parser.add_argument("--lmplz", type=Path, help="KenLM's lmplz, to time it on the same text")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args()
    figures = measure(*encode(options.corpus), options.lmplz)
    print(json.dumps(figures) if options.json else "\n".join(f"{key:24} {shown(v)}" for key, v in figures.items()))


def encode(path: Path) -> tuple[Ids, int]:
    """Character ids of a text, and how many different ones there are."""
    points = np.frombuffer(path.read_text(encoding="utf-8").encode("utf-32-le"), dtype=np.uint32)
    symbols = np.flatnonzero(np.bincount(points))
    ids = np.zeros(int(symbols[-1]) + 1, dtype=np.uint16 if len(symbols) <= 1 << 16 else np.uint32)
    ids[symbols] = np.arange(len(symbols))
    return ids[points], len(symbols)


def measure(ids: Ids, vocab_size: int, lmplz: Path | None) -> dict[str, Any]:
    """All figures by name."""
    cut = int(len(ids) * (1 - VAL_FRACTION))
    train, val = ids[:cut], ids[cut:]
    dev = int(cut * DEV_FRACTION)
    whole = time.perf_counter()
    fit_seconds = {}
    for order in ORDERS:
        start = time.perf_counter()
        NgramLanguageModel.fit(train, vocab_size, order)
        fit_seconds[order] = time.perf_counter() - start
    start = time.perf_counter()
    order, dev_losses = choose_order(train[:-dev], train[-dev:], vocab_size)
    choice_seconds = time.perf_counter() - start
    model = NgramLanguageModel.fit(train, vocab_size, order)
    start = time.perf_counter()
    val_losses = model.order_losses(val)
    figures = {
        "tokens": len(ids),
        "vocab_size": vocab_size,
        "fit_seconds": fit_seconds,
        "choice_seconds": choice_seconds,
        "score_seconds": time.perf_counter() - start,
        "all_seconds": time.perf_counter() - whole,
        "order": order,
        "dev_nats_per_token": dict(enumerate(dev_losses, start=1)),
        "val_nats_per_token": dict(enumerate(val_losses, start=1)),
        "bigram_laplace_1_nats": bigram_loss(train, val, vocab_size),
        "ngrams": model.num_parameters(),
        "model_megabytes": model.num_parameters() * BYTES_PER_NGRAM / 1e6,
        "peak_megabytes": peak_megabytes(),
    }
    if lmplz is not None:
        figures["lmplz_seconds"] = {k: lmplz_seconds(lmplz, train, k) for k in ORDERS if k > 1}
    return figures


def bigram_loss(train: Ids, val: Ids, vocab_size: int) -> float:
    """Nats per token of the bigram table with Laplace 1."""
    table = BigramLanguageModel.from_counts(train, vocab_size).token_embedding_table.weight.detach()
    log_rows = table.log_softmax(-1).numpy()
    return -float(log_rows[val[:-1], val[1:]].mean(dtype=np.float64))


def lmplz_seconds(lmplz: Path, train: Ids, order: int) -> float:
    """Seconds of KenLM's estimation: the text as one line of numbers, its discounts falling back as ours do."""
    with tempfile.TemporaryDirectory() as folder:
        text, arpa = Path(folder, "text"), Path(folder, "arpa")
        text.write_text(" ".join(map(str, train.tolist())) + "\n", encoding="ascii")
        start = time.perf_counter()
        command = [str(lmplz), "-o", str(order), "--discount_fallback", "--text", str(text), "--arpa", str(arpa)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return time.perf_counter() - start


def peak_megabytes() -> float | None:
    """The most memory this process held; None on Windows, which does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def shown(value: Any) -> str:
    """A figure as a person reads it."""
    if isinstance(value, dict):
        return "  ".join(f"{key}: {shown(item)}" for key, item in value.items())
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


if __name__ == "__main__":
    main()
