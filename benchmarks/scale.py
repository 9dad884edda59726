"""How many GPUs would do: steps measured on one, bytes that ranks move, the speed of what lies between them.

python benchmarks/scale.py            the tables of docs/scale.md, from the figures below
python benchmarks/scale.py --check    the same model held against two processes on this machine [--rounds 15] [--json]

The check makes steps of a GPT of 10.6 million parameters in two processes with one thread each, side by side: neither
hears of the other, DDP, FSDP2; it measures gloo's speed between them, and predicts the second and the third from the
first. On a CPU the cores that compute also send, so the truth lies between no overlap and all of it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from machine import PYTHON, command, facts, show
from torch import Tensor, nn

from clearhead.config import RunConfig, TrainConfig
from clearhead.models.base import LanguageModel
from clearhead.optim.adamw import build_adamw
from clearhead.runtime import Runtime, world
from clearhead.training.dividing import weigh_groups
from clearhead.training.parallel import Ranks
from clearhead.training.scaling import BUCKET, Link, Model, Parallel, moved, step_seconds
from clearhead.training.sharding import shard_model
from clearhead.training.weighing import build_model


@dataclass(frozen=True)
class Measured:
    """A step on one NVIDIA H100 80GB HBM3 (SXM): bfloat16 autocast, compiled, AdamW; by benchmarks/gpu_steps.py."""

    layers: int
    heads: int
    width: int
    context: int
    vocabulary: int
    tokens: int
    """Of a step."""
    seconds: float

    @property
    def model(self) -> Model:
        """What ranks would send of it."""
        shape = {"n_layer": self.layers, "n_head": self.heads, "n_embd": self.width, "block_size": self.context}
        config = RunConfig.from_preset("gpt2").with_settings(shape)
        groups = weigh_groups(config, self.vocabulary, torch.float32)
        return Model(groups.rest + self.layers * groups.block, groups, self.layers)


SIZES = {
    "10 M": Measured(6, 6, 384, 256, 25, 65_536, 0.01886),
    "124 M": Measured(12, 12, 768, 1_024, 50_257, 32_768, 0.0712),
    "1.5 B": Measured(48, 25, 1_600, 1_024, 50_257, 8_192, 0.20718),
}
GPUS = (1, 8, 64, 1_024)
NODE = 8
"""GPUs of a machine."""
INSIDE = Link(speed=350e9, latency=5e-6)
"""NVLink 4 carries 450 GB/s each way; collectives are taken to reach 350."""
BETWEEN = {
    "400 Gb/s for each GPU": Link(speed=300e9, latency=10e-6),
    "100 Gb/s for each machine": Link(speed=11e9, latency=20e-6),
}
"""Between machines of eight. A ring leaves a machine by all its cards at once, so its ranks see eight times one card's
50 GB/s, but for what is lost; or one card's 12.5."""
BATCH = 524_288
"""Tokens, about what GPT-2 and GPT-3's small models were trained with."""
HEADER = """\
| model | GPUs | tokens in a batch | DDP, tokens/s | efficiency | FSDP2, tokens/s | efficiency |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""
SHAPE = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 128}
"""Of the check."""
VOCABULARY = 65
BLOCK = 7 << 20
"""Bytes of one of its blocks, roughly."""


def predicted(
    size: Measured, parallel: Parallel, gpus: int, between: Link, batch: int | None = None
) -> tuple[float, float]:
    """Tokens per second of all GPUs, and what share of so many single ones that is.

    Each has the measured batch; or they divide a `batch` of so many tokens, and take as long as it has rows.
    """
    link, tokens = INSIDE if gpus <= NODE else between, size.tokens if batch is None else batch // gpus
    alone = size.seconds * tokens / size.tokens
    sent = moved(size.model, parallel, gpus, accumulation=-(-tokens // size.tokens))
    seconds = step_seconds(alone, sent, link, gpus)
    return gpus * tokens / seconds, alone / seconds


def tables() -> Iterator[str]:
    """The page's tables, as Markdown."""
    for name, between in BETWEEN.items():
        yield f"Between machines {name}:\n"
        yield HEADER
        for label, size in SIZES.items():
            yield from (row(label, size, gpus, between) for gpus in GPUS)
        yield ""
    yield f"A batch of {BATCH:,} tokens, however many there are; between machines {next(iter(BETWEEN))}:\n"
    yield HEADER
    for label, size in SIZES.items():
        fits = [gpus for gpus in GPUS if BATCH // gpus >= size.context]
        yield from (row(label, size, gpus, next(iter(BETWEEN.values())), BATCH) for gpus in fits)
    yield ""


def row(label: str, size: Measured, gpus: int, between: Link, batch: int | None = None) -> str:
    """One line of a table."""
    found = [predicted(size, parallel, gpus, between, batch) for parallel in ("ddp", "fsdp")]
    cells = " | ".join(f"{three_digits(rate)} | {100 * share:.1f} %" for rate, share in found)
    return f"| {label} | {gpus:,} | {batch or gpus * size.tokens:,} | {cells} |"


def three_digits(rate: float) -> str:
    """A prediction has no more."""
    return f"{float(f'{rate:.3g}'):,.0f}"


def bytes_table() -> Iterator[str]:
    """What a GPU sends in a step, and holds."""
    yield "| model | GPUs | DDP sends | FSDP2 sends | DDP holds | FSDP2 holds |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for label, size in SIZES.items():
        for gpus in GPUS[1:]:
            sent = " | ".join(f"{moved(size.model, p, gpus).bytes / 1e9:.2f} GB" for p in ("ddp", "fsdp"))
            held = 4 * size.model.weights  # weights, gradients, two moments
            yield f"| {label} | {gpus:,} | {sent} | {held / 1e9:.2f} GB | {held / gpus / 1e9:.3f} GB |"


def check(rounds: int) -> dict[str, Any]:
    """Two processes: what they took beside what would have been predicted."""
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(Path(__file__).resolve())]
    told, _ = command([PYTHON, *words, "--rank", "--rounds", str(rounds)], env={"OMP_NUM_THREADS": "1"})
    found = json.loads(told.strip().splitlines()[-1])
    groups = weigh_groups(RunConfig().with_settings(SHAPE), VOCABULARY, torch.float32)
    model = Model(groups.rest + SHAPE["n_layer"] * groups.block, groups, SHAPE["n_layer"])
    for rows in found["rows"]:
        for parallel in ("ddp", "fsdp"):
            sent = moved(model, parallel, 2)
            link = Link(speed_of(found["gloo"], parallel, model), found["gloo"]["latency"])
            rows[parallel] |= {
                f"predicted, {words}": round(step_seconds(rows["alone"], sent, link, 2, overlap), 4)
                for words, overlap in (("all overlaps", 1.0), ("nothing overlaps", 0.0))
            }
    return {"machine": facts(), **found}


def speed_of(gloo: dict[str, float], parallel: Parallel, model: Model) -> float:
    """Bytes per second of what is sent: gloo gathers and scatters at speeds of their own."""
    if parallel == "ddp":
        return gloo["all_reduce"]
    gathered, scattered = 2 * model.weights - model.groups.rest, model.weights
    return (gathered + scattered) / (gathered / gloo["all_gather"] + scattered / gloo["reduce_scatter"])


def work(rounds: int) -> None:
    """One of the two processes; rank 0 prints what it found."""
    torch.set_num_threads(1)
    ranks = Ranks.join(world())
    found: dict[str, Any] = {"gloo": gloo_speeds(), "rows": [steps(ranks, rows, rounds) for rows in (4, 12)]}
    if ranks.first:
        print(json.dumps(found))
    ranks.leave()


def gloo_speeds() -> dict[str, float]:
    """Bytes per second that a rank sends, by kind, and the seconds of a message that holds nothing.

    In messages as large as DDP's buckets, and as the blocks of FSDP2.
    """
    bucket, block, least = torch.ones(BUCKET // 4), torch.ones(BLOCK // 4), torch.ones(1)
    part = block.chunk(2)[0].clone()
    found = {
        "all_reduce": BUCKET / timed(lambda: dist.all_reduce(bucket)),
        "all_gather": BLOCK / 2 / timed(lambda: dist.all_gather_into_tensor(block, part)),
        "reduce_scatter": BLOCK / 2 / timed(lambda: dist.reduce_scatter_tensor(part, block)),
    }
    return {kind: round(speed) for kind, speed in found.items()} | {"latency": timed(lambda: dist.all_reduce(least))}


def timed(call: Callable[[], object], times: int = 15) -> float:
    """Median seconds of a call that both make."""
    found = []
    for _ in range(times):
        dist.barrier()
        start = time.perf_counter()
        call()
        dist.barrier()  # a step lasts until the slower one has made it, also where neither hears of the other
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def steps(ranks: Ranks, rows: int, rounds: int) -> dict[str, Any]:
    """Median seconds of a step of so many rows a process, in the three ways by turns."""
    config, runtime = RunConfig().with_settings(SHAPE), Runtime("cpu", "float32")
    x = torch.randint(VOCABULARY, (rows, SHAPE["block_size"]), generator=torch.Generator().manual_seed(ranks.rank))
    alone, whole, parts = (build_model(config, VOCABULARY) for _ in range(3))
    together = ranks.synchronised(whole, runtime, (x, x))
    shard_model(parts, ranks, runtime)
    ways = {"alone": step_of(alone, alone, x), "ddp": step_of(whole, together, x), "fsdp": step_of(parts, parts, x)}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, step in ways.items():
            taken[way].append(timed(step, 1))
    medians = {way: round(statistics.median(seconds[1:]), 4) for way, seconds in taken.items()}
    return {"rows": rows, "alone": medians["alone"]} | {way: {"seconds": medians[way]} for way in ("ddp", "fsdp")}


def step_of(model: LanguageModel, forward: nn.Module | Callable[..., Any], x: Tensor) -> Callable[[], None]:
    """A step of AdamW."""
    optimizer = build_adamw(model, TrainConfig())

    def step() -> None:
        forward(x, x).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.rank:
        work(chosen.rounds)
    elif chosen.check:
        show(check(chosen.rounds), chosen.json)
    else:
        print("\n".join([*tables(), *bytes_table()]))


if __name__ == "__main__":
    main()
