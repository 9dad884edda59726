"""Pictures under the page's policy: every kind of trace that the figures use is drawn, and saved as PNG and SVG."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx

import clearhead
from browser.shared_browser import Studio, Visitor, ready
from clearhead.studio.page import FILES

DRAW = """async (figure) => {
  const {draw, purge} = await import("/static/lib/figure.js");
  const main = document.getElementById("main");
  main.replaceChildren();
  const div = await draw(main, figure, {name: "tried"});
  const size = {width: 500, height: 400};
  const [svg, png] = await Promise.all(["svg", "png"].map((format) => Plotly.toImage(div, {...size, format})));
  const glyphs = div.querySelectorAll("svg path, svg image, canvas").length;
  purge(div);
  return [glyphs, svg, png];
}"""


def test_every_figure_is_drawn_under_the_policy(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    """The visitor's watch counts what the policy forbids: a console error, and it fails the test."""
    gpt, table = clearhead.load(studio_runs / "poem"), clearhead.load(studio_runs / "table")
    shown = [
        gpt.embeddings(),
        gpt.attention("The wind"),
        gpt.attention("The wind", layer=0, head=1),
        gpt.lens("The wind"),
    ]
    shown += [gpt.loss(read=2_000), gpt.next("The"), gpt.trick(), table.bigram(), gpt.one_step("The wind")]
    figures: dict[str, Any] = {name: figure for view in shown for name, figure in view.figures().items()}
    kinds = {trace.type for figure in figures.values() for trace in figure.data}
    assert {"scatter3d", "heatmap", "bar", "scatter"} <= kinds
    page = visitor.open(studio)
    ready(page, "runs")
    for name, figure in figures.items():
        glyphs, svg, png = page.evaluate(DRAW, json.loads(figure.to_json()))
        assert glyphs > 0, name
        assert svg.startswith("data:image/svg+xml"), name
        assert base64.b64decode(png.partition(",")[2]).startswith(b"\x89PNG"), name


def test_buttons_save_the_picture_and_its_numbers(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, "/poem/ladder")
    ready(page, "ladder")
    begins = {"PNG": b"\x89PNG", "SVG": b"<svg", "Data": b"{"}
    for words, start in begins.items():
        with page.expect_download() as saved:
            page.get_by_role("button", name=f"{words} of ladder").click()
        assert Path(saved.value.path()).read_bytes().startswith(start)


def test_the_page_s_javascript_is_small(studio: Studio) -> None:
    """As it travels, all views together: what a browser asks for is compressed."""
    names = [name for name in FILES if name.endswith(".js")]
    assert len(names) >= 14
    with httpx.Client(headers={"authorization": f"Bearer {studio.token}"}) as client:
        sent = [client.get(f"{studio.address}/static/{name}").headers["content-length"] for name in names]
    assert sum(map(int, sent)) < 60_000
