"""A page that is open while a model trains: does it keep its memory?

python benchmarks/page_soak.py [--minutes 10] [--json]

A studio of its own trains a small GPT for as long; Chromium has its Train view open and draws every update. Each
fifteenth of the time garbage is collected and the heap of the page measured, with the nodes of its document. Exit 1
when the heap at the end is a quarter above the heap after the first third, and more than a curve of 4,000 points takes.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from machine import arguments, facts, show
from playwright.sync_api import CDPSession, sync_playwright

from clearhead.data.named import python_docs

PROGRAM = "/usr/bin/chromium"
LOOKS = 15
GROWTH, CURVE = 1.25, 4 << 20
"""What is allowed: a share, and bytes of a curve that still grows to its 4,000 points."""
SMALL = "--n_embd 16 --n_head 2 --n_layer 1 --block_size 16 --batch_size 4 --eval_interval 500"
PER_MINUTE = 9_000
"""Steps, about; the events of a run hold 10,000 of its steps at most."""


def soak(minutes: float) -> dict[str, Any]:
    """Heaps and nodes of a page over `minutes` of training."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runs"
        text = Path(folder) / "text.txt"
        text.write_text(python_docs()[1][:100_000], encoding="utf-8")
        clearhead = [sys.executable, "-m", "clearhead"]
        studio = subprocess.Popen(
            [*clearhead, "studio", "--out", str(out), "--port", "0", "--no_browser"], stdout=subprocess.PIPE, text=True
        )
        words = ["train", str(text), "--out", str(out), "--name", "long", *SMALL.split()]
        words += ["--max_iters", str(int(minutes * PER_MINUTE))]
        training = subprocess.Popen([*clearhead, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert studio.stdout is not None
            found = re.match(r"ready (\S+)", studio.stdout.readline())
            assert found is not None
            return _watch(found.group(1), minutes)
        finally:
            for process in (training, studio):
                process.terminate()
                process.wait()
            assert studio.stdout is not None
            studio.stdout.close()


def _watch(link: str, minutes: float) -> dict[str, Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(link)
        page.locator("tr[data-run=long][data-run-state=training]").wait_for(timeout=120_000)
        page.get_by_role("link", name="long").click()
        page.locator("section[data-view=train][data-points]").wait_for(timeout=120_000)
        session = page.context.new_cdp_session(page)
        seen = []
        for _ in range(LOOKS):
            page.wait_for_timeout(minutes * 60_000 / LOOKS)
            seen.append(_measure(session))
        points = int(page.locator("section").get_attribute("data-points") or 0)
        step = int(page.locator("section").get_attribute("data-step") or 0)
        browser.close()
    heaps = [heap for heap, _ in seen]
    before, after = median(heaps[LOOKS // 3 : LOOKS // 3 + 3]), median(heaps[-3:])
    return {
        "minutes": minutes,
        "steps": step,
        "points of the curve": points,
        "heap MiB after a third": round(before / 2**20, 1),
        "heap MiB at the end": round(after / 2**20, 1),
        "nodes at the end": seen[-1][1],
        "grew": after > max(GROWTH * before, before + CURVE),
    }


def _measure(session: CDPSession) -> tuple[float, int]:
    """Bytes of the heap after garbage was collected, and nodes."""
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return found["JSHeapUsedSize"], int(found["Nodes"])


def main() -> int:
    parser = arguments("Leave a page open while a model trains; its memory must not show it.")
    parser.add_argument("--minutes", type=float, default=10.0)
    chosen = parser.parse_args()
    found = soak(chosen.minutes)
    show({**found, **facts()}, chosen.json)
    return 1 if found["grew"] else 0


if __name__ == "__main__":
    sys.exit(main())
