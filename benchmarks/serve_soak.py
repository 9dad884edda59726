"""Minutes of load on one server, and what its memory does meanwhile.

    python benchmarks/serve_soak.py [--minutes 10] [--clients 16] [--json]

Clients ask without pause: streams, whole answers, several texts, scores, long prompts that slide, wrong requests, and
every seventh hangs up in the middle. The server's resident memory is read every few seconds; the slope is a straight
line through what was read after a warm-up of a fifth of the time. Exit 1 when it grew by more than 16 MB over the rest,
when an answer was neither 200 nor the 400 or 503 it should be, or when slots or queue are not free in the end. Linux.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from machine import arguments, clearhead, facts, show
from serve import SHAPE, server

GROWTH_MB = 16.0
WARM_UP = 0.2
"""Of the time: the allocator finds its size."""
READINGS = 200


def request(draw: random.Random) -> tuple[str, dict[str, Any], int]:
    """A route, a body and the status it should have (503 is always possible)."""
    asked: dict[str, Any] = {"model": "served", "seed": draw.randrange(1_000), "max_tokens": draw.choice([1, 20, 80])}
    asked["prompt"] = draw.choice(["the ", ["a", "of the"], "import " * draw.randrange(1, 120), ""])
    kind = draw.randrange(8)
    if kind == 0:
        return "/v1/score", {"model": "served", "text": "a function that returns " * draw.randrange(1, 40)}, 200
    if kind == 1:
        return "/v1/completions", {**asked, "temperature": -1}, 400
    if kind == 2:
        asked |= {"logprobs": 5, "echo": True}
    if kind == 3:
        asked |= {"n": 3, "stop": ["\n", ". "]}
    return "/v1/completions", {**asked, "stream": bool(kind % 2)}, 200


async def ask(port: int, draw: random.Random, statuses: Counter[str]) -> None:
    """One request on a connection of its own."""
    route, asked, expected = request(draw)
    body = json.dumps(asked).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" % route.encode())
    writer.write(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    if draw.randrange(7) == 0:
        await asyncio.sleep(draw.random() * 0.2)
        statuses["hung up"] += 1
    else:
        status = int((await reader.read())[9:12] or 0)
        statuses[str(status) if status in (expected, 503) else f"{status} instead of {expected}"] += 1
    writer.close()


async def metrics(port: int) -> dict[str, float]:
    """The server's gauges and counts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    lines = (await reader.read()).decode().split("\r\n\r\n", 1)[1].splitlines()
    writer.close()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(pair) for name, pair in pairs}


def resident_mb(process: int) -> float:
    """The resident memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


async def load(port: int, process: int, seconds: float, clients: int) -> tuple[Counter[str], list[tuple[float, float]]]:
    """Clients for some seconds; how they fared, and (seconds, MB) as time went."""
    statuses: Counter[str] = Counter()
    readings: list[tuple[float, float]] = []
    begun = time.monotonic()

    async def keep_asking(seed: int) -> None:
        draw = random.Random(seed)
        while time.monotonic() - begun < seconds:
            await ask(port, draw, statuses)

    async def read_memory() -> None:
        while (now := time.monotonic() - begun) < seconds:
            readings.append((now, resident_mb(process)))
            await asyncio.sleep(seconds / READINGS)

    await asyncio.gather(*map(keep_asking, range(clients)), read_memory())
    return statuses, readings


def soak(minutes: float, clients: int) -> dict[str, Any]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        told, _ = clearhead("train", "python-docs", *SHAPE, "--out", folder, "--name", "served")
        with server(Path(told.splitlines()[-1]), 16) as (port, process):
            statuses, readings = asyncio.run(load(port, process, minutes * 60, clients))
            time.sleep(2)
            left = asyncio.run(metrics(port))
    seconds, megabytes = np.array([reading for reading in readings if reading[0] >= WARM_UP * minutes * 60]).T
    slope = float(np.polyfit(seconds, megabytes, 1)[0])
    wrong = sum(count for status, count in statuses.items() if "instead" in status)
    return {
        "minutes": minutes,
        "clients": clients,
        "requests": sum(statuses.values()),
        "answers": dict(sorted(statuses.items())),
        "wrong_answers": wrong,
        "tokens_written": int(left['clearhead_tokens_total{kind="written"}']),
        "memory_mb_after_warm_up": round(float(megabytes[0]), 1),
        "memory_mb_at_the_end": round(float(megabytes[-1]), 1),
        "slope_mb_per_hour": round(3_600 * slope, 1),
        "growth_mb": round(slope * float(seconds[-1] - seconds[0]), 1),
        "texts_left": int(left["clearhead_texts_running"] + left["clearhead_texts_queued"]),
    }


def main() -> int:
    parser = arguments("Load on one server, and its memory.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=16)
    chosen = parser.parse_args()
    figures = soak(chosen.minutes, chosen.clients)
    show({**figures, **facts()}, chosen.json)
    return int(figures["growth_mb"] > GROWTH_MB or figures["wrong_answers"] > 0 or figures["texts_left"] > 0)


if __name__ == "__main__":
    sys.exit(main())
