"""Counted models on a text, beside KenLM's lmplz: seconds, processor time, memory, and the loss on validation.

    python benchmarks/count_models.py --corpus input.txt [--lmplz kenlm/build/bin/lmplz] [--orders 5 7] [--json]
    python benchmarks/count_models.py --sources 100 --orders 5 --rounds 1 --lmplz kenlm/build/bin/lmplz

Characters are tokens, the text is one document, and the splits are the house's: the last tenth validates, the last
fiftieth of the rest is dev. Both sides estimate interpolated modified Kneser-Ney of the same order on the same
training text, in turns, and both models are scored on the same validation text; the script stops when their losses
differ. lmplz reads the tokens as numbers and writes probabilities (ARPA). Ours reads the text, finds its
characters and writes counts; "in process" is the counting alone. KenLM must be built for the highest order asked
(KENLM_MAX_ORDER). Linux and macOS.
"""

import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lmplz import MEMORY, Cost, cost, estimate_words, token_losses, write_tokens
from machine import PYTHON, arguments, facts, show

from clearhead.config import DEV_FRACTION, VAL_FRACTION
from clearhead.models.ngram import NgramLanguageModel, choose_order
from clearhead.models.windows import Ids
from clearhead.tokenizers.char import CharTokenizer

ORDERS = (5, 7)
SCORED = 1_000_000
"""Validation tokens that are scored: all of a small text, the first of a large one."""
SAME_LOSS = 0.001
"""Nats per token that the two may differ by: they treat the text's first tokens and unseen ones differently."""
FIT = """
import sys
from pathlib import Path
from safetensors.torch import save_file
from clearhead.models.ngram import NgramLanguageModel
from clearhead.tokenizers.char import CharTokenizer
text = Path(sys.argv[1]).read_bytes().decode()
tokenizer = CharTokenizer.train([text])
model = NgramLanguageModel.fit(tokenizer.encode(text), tokenizer.vocab_size, int(sys.argv[2]))
save_file(model.state_dict(), sys.argv[3])
"""


class Splits(NamedTuple):
    """One text as ids: what is counted, and what is scored."""

    train: Ids
    val: Ids
    vocab_size: int


def python_sources(megabytes: float) -> str:
    """The Python sources installed beside this one, in order of path, joined and cut at so many million characters."""
    parts: list[str] = []
    missing = round(megabytes * 1e6)
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*.py")):
        text = path.read_bytes().decode(errors="replace")
        parts.append(text[:missing])
        missing -= len(parts[-1])
        if missing == 0:
            return "".join(parts)
    raise SystemExit(f"--sources {megabytes}: {missing / 1e6:.0f} million characters too few here; ask for less")


def measure(text: str, orders: Sequence[int], rounds: int, lmplz: Path | None) -> dict[str, Any]:
    """All figures by name."""
    tokenizer = CharTokenizer.train([text])
    ids, cut = tokenizer.encode(text), int(len(text) * (1 - VAL_FRACTION))
    splits = Splits(ids[:cut], ids[cut:][:SCORED], tokenizer.vocab_size)
    rows, losses = [], []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train.txt").write_bytes(text[:cut].encode())
        if lmplz is not None:
            write_tokens(splits.train, Path(folder, "train"))
            write_tokens(splits.val, Path(folder, "val"))
        for order in orders:
            rows += side_by_side(splits, order, rounds, lmplz, Path(folder))
            losses.append(compare_losses(splits, order, lmplz, Path(folder)))
    return {
        "lmplz": "not at hand" if lmplz is None else "measured",
        "train_tokens": len(splits.train),
        "scored_tokens": len(splits.val),
        "vocab_size": splits.vocab_size,
        **choice(splits),
        "rounds": rounds,
        "sides": rows,
        "losses": losses,
    }


def choice(splits: Splits) -> dict[str, Any]:
    """The order that dev chooses, out of all that fit into memory, and the seconds that takes."""
    dev = int(len(splits.train) * DEV_FRACTION)
    start = time.perf_counter()
    order, losses = choose_order(splits.train[:-dev], splits.train[-dev:], splits.vocab_size)
    seconds = time.perf_counter() - start
    return {"chosen_order": order, "orders_tried": len(losses), "choice_seconds": round(seconds, 2)}


def side_by_side(splits: Splits, order: int, rounds: int, lmplz: Path | None, folder: Path) -> list[dict[str, Any]]:
    """A row for each side: medians over rounds that turn the sides' order round; `ratio` is to lmplz with MEMORY."""
    fit_words = [PYTHON, "-c", FIT, str(folder / "train.txt"), str(order), str(folder / "tables")]
    sides: dict[str, Callable[[], Cost]] = {
        "clearhead, in process": lambda: counted(splits, order),
        "clearhead": lambda: cost(fit_words),
    }
    reference = f"lmplz --memory {MEMORY}"
    if lmplz is not None:
        paths = order, folder / "train", folder / "arpa"
        sides["lmplz"] = lambda: cost(estimate_words(lmplz, *paths))
        sides[reference] = lambda: cost(estimate_words(lmplz, *paths, memory=MEMORY))
    costs: dict[str, list[Cost]] = {side: [] for side in sides}
    for turn in range(rounds):
        for side in list(sides)[:: -1 if turn % 2 else 1]:
            costs[side].append(sides[side]())
    return [_row(order, side, costs[side], costs.get(reference)) for side in sides]


def counted(splits: Splits, order: int) -> Cost:
    """Counting inside this process, where ids wait in memory."""
    start, cpu = time.perf_counter(), time.process_time()
    _fit(splits, order)
    return Cost(time.perf_counter() - start, time.process_time() - cpu, None)


def _fit(splits: Splits, order: int) -> NgramLanguageModel:
    model = NgramLanguageModel.fit(splits.train, splits.vocab_size, order)
    if model.order < order:
        raise SystemExit(f"order {order} passes what the tables may take on this text; try --orders {model.order}")
    return model


def _row(order: int, side: str, costs: list[Cost], reference: list[Cost] | None) -> dict[str, Any]:
    seconds, cpu, peaks = zip(*costs, strict=True)
    row = {
        "order": order,
        "side": side,
        "seconds": round(statistics.median(seconds), 3),
        "cpu_seconds": round(statistics.median(cpu), 3),
        "peak_megabytes": "" if None in peaks else round(max(peaks)),
    }
    if reference is not None:
        ratios = [mine.seconds / theirs.seconds for mine, theirs in zip(costs, reference, strict=True)]
        row["ratio"] = round(statistics.median(ratios), 3)
    return row


def compare_losses(splits: Splits, order: int, lmplz: Path | None, folder: Path) -> dict[str, Any]:
    """Nats per token of both models on the tokens of validation that training has seen.

    An unseen one is not compared: KenLM has a single <unk> for all of them, ours a share of the uniform for each.
    """
    model = _fit(splits, order)
    seen = np.bincount(splits.train, minlength=splits.vocab_size)[splits.val[1:]] > 0
    ours = float(model.token_losses(splits.val)[seen].mean())
    row = {"order": order, "ngrams": model.num_parameters(), "clearhead_nats_per_token": round(ours, 6)}
    if lmplz is not None:
        theirs = float(token_losses(lmplz, folder / "arpa", folder / "val")[seen].mean())
        if abs(ours - theirs) > SAME_LOSS:
            raise SystemExit(f"the two do not estimate the same: order {order}, {ours:.4f} and {theirs:.4f} nats")
        row["lmplz_nats_per_token"] = round(theirs, 6)
    return row


def main() -> int:
    parser = arguments("Counted models on a text, beside KenLM's lmplz.")
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("--corpus", type=Path, help="a text file in UTF-8")
    text.add_argument("--sources", type=float, help="instead, so many million characters of installed Python sources")
    parser.add_argument("--lmplz", type=Path, help="KenLM's lmplz, its query beside it, to measure them as well")
    parser.add_argument("--orders", type=int, nargs="+", default=ORDERS)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.lmplz and not (chosen.lmplz.is_file() and chosen.lmplz.with_name("query").is_file()):
        parser.error(
            f"--lmplz {chosen.lmplz}: no such program with a query beside it; name the one in KenLM's build/bin"
        )
    read = chosen.corpus.read_text(encoding="utf-8") if chosen.corpus else python_sources(chosen.sources)
    show({**measure(read, chosen.orders, chosen.rounds, chosen.lmplz), **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
