"""What the studio costs: how soon it answers, how much it tells, what it holds, what it takes from training.

python benchmarks/studio_cost.py [--corpus shakespeare] [--pairs 12] [--json]

The default model trains in a run of the studio; windows of a few seconds in which a client reads the stream of its
events take turns with windows in which nobody does. The speed of a window is that of the steps in the run's own event
file; the median of the pairs' ratios counts. Memory is what the server holds before and after it has told ten messages
a second of a run that makes 300 steps a second.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

STARTS, WINDOW, FLOOD, RATE = 5, 4.0, 40.0, 300
"""Starts of the server; seconds of a window; seconds of many events, and how many a second."""
ENDLESS = {"max_iters": 20_000, "eval_interval": 100_000, "save_interval": 100_000}
"""Neither evaluations nor saves: what differs between two windows is who reads."""


@dataclass
class Server:
    """A studio in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    token: str
    seconds: float
    """Until it said that it is ready."""

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, path: str, body: Any = None) -> Any:
        connection = self.connect()
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, document
        return document

    def processor(self) -> float:
        """Seconds of processor time so far."""
        return processor(self.process.pid)

    def resident(self) -> int:
        """Bytes in memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def processor(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(out: Path) -> Iterator[Server]:
    begun = time.perf_counter()
    words = [sys.executable, "-m", "clearhead", "studio", "--out", str(out), "--port", "0", "--no-browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    link = urlsplit(process.stdout.readline().split()[1])
    seconds = time.perf_counter() - begun
    assert link.port is not None
    try:
        yield Server(process, link.port, parse_qs(link.query)["token"][0], seconds)
    finally:
        process.terminate()
        process.wait(30)


class Reader:
    """A tab: reads the stream of a run in a thread, from where it stands."""

    def __init__(self, studio: Server, run: str) -> None:
        cursor = studio.ask(f"/api/runs/{run}/curves")["cursor"]
        self.connection = studio.connect()
        headers = {"authorization": f"Bearer {studio.token}"}
        self.connection.request("GET", f"/api/stream?run={run}&cursor={cursor}", headers=headers)
        self.response = self.connection.getresponse()
        self.messages = self.bytes = 0
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            while line := self.response.readline():
                self.messages += line.startswith(b"event:")
                self.bytes += len(line)

    def close(self) -> None:
        if self.connection.sock is not None:
            with suppress(OSError):
                self.connection.sock.shutdown(2)
        self.thread.join()
        self.connection.close()


def starting(out: Path) -> dict[str, Any]:
    ups, firsts = [], []
    for _ in range(STARTS):
        with server(out) as studio:
            begun = time.perf_counter()
            studio.ask("/api/state")
            studio.ask("/api/runs")
            firsts.append(time.perf_counter() - begun)
            ups.append(studio.seconds)
    return {
        "server up, seconds": round(statistics.median(ups), 2),
        "state and runs, seconds": round(statistics.median(firsts), 3),
    }


def flooded(out: Path, folder: Path) -> dict[str, Any]:
    """A run that seems to make 300 steps a second, told to one tab."""
    run = folder / "flood"
    shutil.copytree(next(path.parent for path in out.glob("*/manifest.json")), run / "a")
    with server(run) as studio, (run / "a" / "events.jsonl").open("a") as events:
        reader, held, steps, begun = Reader(studio, "a"), [], 10_000, time.monotonic()
        used = studio.processor()
        while (passed := time.monotonic() - begun) < FLOOD:
            while steps - 10_000 < RATE * passed:
                steps += 1
                event = {"event": "stepped", "step": steps, "loss": 2.0, "learning_rate": 1e-3, "grad_norm": 1.0}
                events.write(json.dumps({**event, "seconds": passed}) + "\n")
            events.flush()
            held.append(studio.resident())
            time.sleep(0.01)
        used, half = studio.processor() - used, len(held) // 2
        reader.close()
    return {
        "messages per second": round(reader.messages / FLOOD, 1),
        "steps told per second": RATE,
        "processor of the server, percent of a core": round(100 * used / FLOOD, 1),
        "memory, second half less first, kilobytes": round((max(held[half:]) - max(held[:half])) / 1024),
    }


def training(out: Path, corpus: str, pairs: int) -> dict[str, Any]:
    with server(out) as studio:
        text = f"named-{corpus}" if not Path(corpus).exists() else studio.ask("/api/texts/path", {"path": corpus})["id"]
        run = studio.ask("/api/runs", {"text": text, "settings": ENDLESS})["name"]
        while not (row := next(row for row in studio.ask("/api/runs")["runs"] if row["name"] == run))["rate"]:
            assert row["state"] in ("starting", "training"), row
            time.sleep(0.5)
        speeds, costs, used = [], [], 0.0
        try:
            _pace(out / run)
            for pair in range(pairs):
                found = {}
                for reading in (True, False) if pair % 2 else (False, True):
                    reader, before = Reader(studio, run) if reading else None, studio.processor()
                    found[reading] = _pace(out / run)
                    if reader is not None:
                        used += studio.processor() - before
                        reader.close()
                speeds.append(found[True].speed / found[False].speed)
                costs.append(found[True].cost / found[False].cost)
        finally:
            studio.ask(f"/api/runs/{run}/stop", {})
    return {
        "training speed, read / not read": round(statistics.median(speeds), 3),
        "half of the pairs within": " .. ".join(f"{q:.3f}" for q in statistics.quantiles(speeds, n=4)[::2]),
        "processor time of a step, read / not read": round(statistics.median(costs), 3),
        "processor of the server while it is read, percent of a core": round(100 * used / (pairs * WINDOW), 2),
    }


class Pace(NamedTuple):
    """Of training over one window."""

    speed: float
    """Steps per second, by the run's own clock."""
    cost: float
    """Processor seconds of a step."""


def _pace(run: Path) -> Pace:
    trainer = int((run / ".lock").read_text())
    first, before = _last_step(run), processor(trainer)
    time.sleep(WINDOW)
    last, after = _last_step(run), processor(trainer)
    steps = last["step"] - first["step"]
    return Pace(steps / (last["seconds"] - first["seconds"]), (after - before) / steps)


def _last_step(run: Path) -> Any:
    with (run / "events.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - 8192))
        lines = [line for line in file.read().split(b"\n")[1:-1] if line.startswith(b'{"event": "stepped"')]
    return json.loads(lines[-1])


def measure(corpus: str, pairs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runs"
        figures = training(out, corpus, pairs)
        return starting(out) | flooded(out, Path(folder)) | figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="shakespeare", help="a named corpus, or a file")
    parser.add_argument("--pairs", type=int, default=12, help="of windows in which the stream is read, and is not")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    figures = measure(chosen.corpus, chosen.pairs)
    if chosen.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<62} {value}")


if __name__ == "__main__":
    main()
