"""What serving costs: many streaming clients against the batch that they share, and how long the first token takes.

    python benchmarks/serve.py [--clients 64] [--rounds 5] [--json]

A model of 0.8 million parameters (the default shape, context 256, hardly trained: speed does not depend on it) is
served by `clearhead serve` in a process of its own. Its clients, in this process, send a prompt each at the same moment
and read their streams to the end. Between the rounds the same prompts are drawn by `Batch`, without a server, with the
same settings, on as many threads as the server draws with (all cores but one, or OMP_NUM_THREADS): that is the raw
rate, beside which stands that of all cores. Sides alternate; a ratio is the median over neighbouring rounds. On a
machine that others use too, the ratio of the processor's seconds says more than that of the clock's.
"""

import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the command line does, before torch is imported

import torch
from machine import PYTHON, arguments, clearhead, facts, show

from clearhead.api import Run
from clearhead.config import SamplingConfig
from clearhead.data.named import PYTHON_DOCS
from clearhead.generation.batch import Batch
from clearhead.runs.directory import RunDirectory

SHAPE = ("--block_size", "256", "--max_iters", "2", "--batch_size", "2", "--eval_iters", "1", "--device", "cpu")
SHORTEST, LONGEST, TOKENS = 8, 24, 232
"""Characters of prompts, no two neighbours equally long, and tokens to write: both fit into the context."""
FEW, LONGER = 8, 64
"""Clients whose first token is timed, and characters of their prompts."""


@contextmanager
def server(run: Path, slots: int) -> Iterator[tuple[int, int]]:
    """The port and the process of `clearhead serve`, until it is told to stop."""
    words = [PYTHON, "-m", "clearhead", "serve", str(run), "--port", "0", "--slots", str(slots)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().rsplit(":", 1)[1]), process.pid
    finally:
        process.terminate()
        process.wait(60)


def processor_seconds(process: int) -> float:
    """What a process has used of the processor so far (Linux; elsewhere NaN)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Stream:
    """What one client saw."""

    first: float
    """Seconds until its first text."""
    tokens: int


async def client(port: int, name: str, prompt: str, tokens: int, seed: int) -> Stream:
    """Send one request and read its stream to the end."""
    asked = {"model": name, "prompt": prompt, "max_tokens": tokens, "seed": seed, "stream": True}
    body = json.dumps({**asked, "stream_options": {"include_usage": True}}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = time.perf_counter()
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
    writer.write(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    received = await reader.readuntil(b"data: ")
    first = time.perf_counter() - start
    received += await reader.read()
    writer.close()
    if b" 200 " not in received[:20] or b"data: [DONE]" not in received:
        raise SystemExit(f"a stream broke: {received[:300]!r}")
    return Stream(first, int(received.rpartition(b'"completion_tokens":')[2].partition(b",")[0]))


def crowd(port: int, name: str, prompts: list[str], tokens: int) -> tuple[list[Stream], float]:
    """All clients at once; what they saw, and the seconds until the last was done."""

    async def all_at_once() -> list[Stream]:
        return await asyncio.gather(*(client(port, name, prompt, tokens, i) for i, prompt in enumerate(prompts)))

    start = time.perf_counter()
    return asyncio.run(all_at_once()), time.perf_counter() - start


class Rate(NamedTuple):
    """Tokens per second, by the clock and of the processor."""

    wall: float
    processor: float


def server_threads() -> int:
    """What a server that begins here draws with."""
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) - 1))


def raw_rate(run: Run, prompts: list[str], tokens: int) -> Rate:
    """The same texts without a server."""
    ids = [run.tokenizer.encode(prompt).tolist() for prompt in prompts]
    batch = Batch(run.model, len(ids))
    start, used = time.perf_counter(), time.process_time()
    for seed, each in enumerate(ids):
        batch.admit(each, SamplingConfig(max_new_tokens=tokens, seed=seed))
    for _ in range(tokens):
        batch.step()
    count = len(ids) * tokens
    return Rate(count / (time.perf_counter() - start), count / (time.process_time() - used))


def served_rate(port: int, process: int, run: Run, prompts: list[str], tokens: int) -> Rate:
    """The same texts by way of the server; the processor's seconds are the server's, not the clients'."""
    used = processor_seconds(process)
    streams, seconds = crowd(port, run.path.name, prompts, tokens)
    count = sum(stream.tokens for stream in streams)
    return Rate(count / seconds, count / (processor_seconds(process) - used))


def measure(clients: int, rounds: int, corpus: str = PYTHON_DOCS) -> dict[str, Any]:
    """The figures, on a run of its own."""
    with tempfile.TemporaryDirectory() as folder:
        told, _ = clearhead("train", corpus, *SHAPE, "--out", folder, "--name", "served")
        run = Run(RunDirectory(Path(told.splitlines()[-1])))
        text = "".join(chr(32 + i % 90) for i in range(1_000))
        text = "".join(c for c in text if not run.tokenizer.unknown(c))
        lengths = [SHORTEST + i % (LONGEST - SHORTEST + 1) for i in range(clients)]
        prompts = [(text * 9)[i * 7 : i * 7 + length] for i, length in enumerate(lengths)]
        with server(run.path, clients) as (port, process):
            crowd(port, run.path.name, prompts, 8)  # reads the run, and warms up
            served, raw, all_cores, threads = [], [], [], torch.get_num_threads()
            for _ in range(rounds):
                torch.set_num_threads(threads)
                all_cores.append(raw_rate(run, prompts, TOKENS))
                torch.set_num_threads(server_threads())
                raw.append(raw_rate(run, prompts, TOKENS))
                served.append(served_rate(port, process, run, prompts, TOKENS))
            longer = [(text * 9)[i * 7 : i * 7 + LONGER] for i in range(FEW)]
            firsts = [s.first for _ in range(rounds) for s in crowd(port, run.path.name, longer, 64)[0]]
    pairs = list(zip(served, raw, strict=True))
    return {
        "parameters": run.model.num_parameters(),
        "clients": clients,
        "tokens_per_client": TOKENS,
        "raw_tokens_per_second_of_all_cores": round(statistics.median(rate.wall for rate in all_cores)),
        "raw_tokens_per_second": round(statistics.median(rate.wall for rate in raw)),
        "served_tokens_per_second": round(statistics.median(rate.wall for rate in served)),
        "served_share_of_raw": round(statistics.median(s.wall / r.wall for s, r in pairs), 3),
        "served_share_by_processor_time": round(statistics.median(s.processor / r.processor for s, r in pairs), 3),
        "clients_timed": FEW,
        "first_token_ms_median": round(1_000 * statistics.median(firsts), 1),
        "first_token_ms_worst": round(1_000 * max(firsts), 1),
    }


def main() -> int:
    parser = arguments("Streaming clients against the batch that they share.")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    show({**measure(chosen.clients, chosen.rounds), **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
