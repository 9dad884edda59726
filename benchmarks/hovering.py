"""The page's own pictures on a long text: how soon the patterns of all heads stand, how smoothly they are pointed at.

python benchmarks/hovering.py [--corpus shakespeare] [--json]

A GPT of 2 layers and 4 heads with a context of 1,024 is looked at by Chromium, 1,440 pixels wide: milliseconds from the
change of the address to the drawn grid, of the studio's first look (torch is imported, the run is read), of another
text, and of the same again; then, while the pointer jumps about in each picture, the frames, and the longest that our
own script took to light what is pointed at. What was learned is no matter, so the run has made two steps. Chromium is
needed.
"""

import random
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import PYTHON, arguments, clearhead, facts, show

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHAPE = "--n_layer 2 --n_head 4 --n_embd 64 --block_size 1024 --batch_size 1 --max_iters 2 --eval_iters 1"
PICTURES = {
    "grid": "attention-long-heads",
    "lines": "head-1.2-lines",
    "square of 1,024": "head-1.2-pattern",
    "chain": "chain-1.2-1023",
}
MOVES = 200
WATCH = """(picture) => {
  window.frames = [];
  window.worked = 0;
  window.seen = false;
  let last = performance.now();
  const frame = (now) => {
    window.frames.push(now - last);
    last = now;
    if (!window.seen) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new MutationObserver(() => { window.worked = Math.max(window.worked, Number(picture.dataset.lit)); })
    .observe(picture, {attributes: true, attributeFilter: ["data-lit"]});
}"""


def measure(corpus: str) -> dict[str, Any]:
    """Milliseconds to the grid, and of the frames of each picture."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "runs")
        clearhead("train", corpus, *SHAPE.split(), "--name", "long", "--out", out, "--json")
        words = [PYTHON, "-m", "clearhead", "studio", "--out", out, "--port", "0", "--no_browser"]
        studio = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert studio.stdout is not None
            found = re.match(r"ready (\S+)", studio.stdout.readline())
            assert found is not None
            return _look(found.group(1))
        finally:
            studio.terminate()
            studio.wait(30)


def _look(link: str) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(link)
        page.locator("section[data-state=ready]").wait_for()
        first, other, again = (_grid(page, link, text) for text in ("", "&text=" + "the%20" * 300, ""))
        page.locator("section[data-view=attention][data-state=ready][data-worth=ready]").wait_for(timeout=120_000)
        rows = [_frames(page, what, name) for what, name in PICTURES.items()]
        browser.close()
    return {
        "grid of the first look, ms": round(first),
        "grid of another text, ms": round(other),
        "grid again, ms": round(again),
        "pictures": rows,
    }


def _grid(page: "Page", link: str, text: str) -> float:
    """Milliseconds from an address to the drawn grid."""
    address = f"{link.split('?')[0]}#/runs"
    page.goto(address)
    page.locator("section[data-view=runs][data-state=ready]").wait_for()
    began = page.evaluate("performance.now()")
    page.goto(f"{link.split('?')[0]}#/long/attention?layer=1&head=2{text}")
    section = page.locator("section[data-view=attention][data-grid]")
    section.wait_for(timeout=120_000)
    return float(section.get_attribute("data-grid") or "nan") - began


def _frames(page: "Page", what: str, name: str) -> dict[str, Any]:
    """Frames while the pointer jumps about in a picture."""
    picture, pick = page.locator(f"[data-picture='{name}']"), random.Random(0)
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    top, bottom = max(60.0, box["y"]), min(890.0, box["y"] + box["height"])
    picture.evaluate(WATCH)
    for _ in range(MOVES):
        page.mouse.move(box["x"] + pick.random() * min(box["width"], 1300), top + pick.random() * (bottom - top))
    frames = sorted(page.evaluate("() => { window.seen = true; return window.frames.slice(2); }"))
    return {
        "picture": what,
        "frames": len(frames),
        "median ms": round(statistics.median(frames), 1),
        "99 of 100 within ms": round(frames[int(0.99 * len(frames))], 1),
        "longest ms": round(frames[-1], 1),
        "own script, longest ms": page.evaluate("window.worked"),
    }


def main() -> int:
    parser = arguments("Own pictures of the page on a long text.")
    parser.add_argument("--corpus", default="shakespeare")
    chosen = parser.parse_args()
    show({**measure(chosen.corpus), **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
