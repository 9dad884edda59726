"""KenLM's lmplz and query, side by side with our counting: what a command costs, what its model loses on a text."""

import json
import math
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machine import PYTHON, command

from clearhead.models.kneser_ney import Float64
from clearhead.models.tally import CHUNK
from clearhead.models.windows import Ids

MEMORY = "1G"
"""What lmplz is given beside its default, 80 % of the machine: to clear that much costs it more than a small text."""
LAUNCH = """
import json, os, sys, time
start = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ), 0)
seconds = time.perf_counter() - start
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
print(json.dumps([seconds, usage.ru_utime + usage.ru_stime, peak]))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A process of its own around the command: a child's peak memory never reads lower than what its parent held."""


class Cost(NamedTuple):
    """What a piece of work took."""

    seconds: float
    cpu_seconds: float
    peak_megabytes: float | None
    """The most memory that its process held; None for work inside a process that does other things."""


def cost(words: list[str]) -> Cost:
    """Run a command that prints nothing to standard output; SystemExit with its last words when it fails."""
    told, _ = command([PYTHON, "-S", "-c", LAUNCH, *words])
    return Cost(*json.loads(told))


def write_tokens(ids: Ids, path: Path) -> None:
    """Ids as KenLM reads tokens: numbers with spaces between, one line."""
    with path.open("w", encoding="ascii") as file:
        for start in range(0, len(ids), CHUNK):
            file.write(" ".join(map(str, ids[start : start + CHUNK].tolist())) + " ")
        file.write("\n")


def estimate_words(lmplz: Path, order: int, tokens: Path, arpa: Path, *, memory: str | None = None) -> list[str]:
    """The command that estimates modified Kneser-Ney; its discounts fall back as ours do."""
    files = ["--text", str(tokens), "--arpa", str(arpa), "--temp_prefix", f"{arpa.parent}/"]
    return [str(lmplz), "--order", str(order), "--discount_fallback", *files, *(["--memory", memory] if memory else [])]


def token_losses(lmplz: Path, arpa: Path, tokens: Path) -> Float64:
    """Nats (N - 1,) of all tokens of a line but the first, by the `query` that stands beside lmplz.

    The log-probability of each token is read: the sum that query prints is kept in 32 bits, and on a line of a
    million tokens that costs 0.001 nats per token.
    """
    query = lmplz.with_name("query")
    with tokens.open("rb") as line:
        done = subprocess.run([str(query), "-n", "-v", "word", str(arpa)], stdin=line, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{query.name} failed with {done.returncode}: {done.stderr.strip()[-2_000:]}")
    log10 = [float(entry.rpartition(" ")[2]) for entry in done.stdout.split("\t") if entry.strip()]
    return -np.array(log10[1:]) * math.log(10)
