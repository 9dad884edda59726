"""What a training step costs alone and beside busy programs, as we run threads and as OpenMP does by itself.

python benchmarks/sharing.py [--seconds 4] [--json]

Each measurement is a process of its own that repeats one step of the default model (forward, backward, AdamW);
the two kinds alternate, and the mean counts, for what is lost is lost in stalls. "spinning" leaves OpenMP its
default, "ours" sleeps after a short spin (`runtime.share_cores`).
Beside: two processes that do nothing but count.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

ROUNDS = 3

STEP = """
import sys, time
seconds, ours = float(sys.argv[1]), sys.argv[2] == "ours"
from clearhead.runtime import share_cores
if ours:
    share_cores()
import torch
from clearhead.config import RunConfig
from clearhead.models.gpt import GPTLanguageModel
model = GPTLanguageModel(RunConfig.from_preset("modern").gpt(65))
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
x = torch.randint(65, (12, 64))
times, end = [], time.perf_counter() + seconds
while time.perf_counter() < end:
    start = time.perf_counter()
    model(x, x).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    times.append(time.perf_counter() - start)
print(sum(times) / len(times))
"""


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Some processes that take all the time they can get."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def step_seconds(kind: str, seconds: float) -> float:
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-c", STEP, str(seconds), kind]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def measure(seconds: float) -> dict[str, float]:
    figures = {}
    for name, count in (("alone", 0), ("beside two", 2)):
        with busy(count):
            time.sleep(0.5)
            pairs = [(step_seconds("spinning", seconds), step_seconds("ours", seconds)) for _ in range(ROUNDS)]
        spinning, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        figures |= {
            f"{name}: spinning, ms": round(1e3 * spinning, 1),
            f"{name}: ours, ms": round(1e3 * ours, 1),
            f"{name}: ours / spinning": round(statistics.median(b / a for a, b in pairs), 3),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    figures = measure(chosen.seconds)
    if chosen.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<28} {value}")


if __name__ == "__main__":
    main()
