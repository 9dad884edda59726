"""The view Attention: its numbers are those of Python, and its address is all that it needs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clearhead
from browser.shared_browser import Studio, Visitor, ready
from clearhead.inspection.attention import attention
from clearhead.runs.checkpoint import load_checkpoint

TEXT = "The wind went"
ADDRESS = "/poem/attention?text=The%20wind%20went&layer=1&head=0&position=9"
UNPACK = """async ([address, name]) => {
  const {packed} = await import("/static/lib/api.js"), {lists} = await import("/static/lib/canvas.js");
  return lists((await packed(address))[name]);
}"""


def saved(page: Any, name: str, kind: str = "Data") -> bytes:
    """The file that a button saves."""
    with page.expect_download() as found:
        page.get_by_role("button", name=f"{kind} of {name}", exact=True).click()
    return Path(found.value.path()).read_bytes()


def test_the_patterns_are_those_of_python(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    view: Any = clearhead.load(studio_runs / "poem").attention(TEXT).view
    page = visitor.open(studio, ADDRESS)
    ready(page, "attention")
    found = page.evaluate(UNPACK, ["/api/runs/poem/attention?text=The%20wind%20went", "wei"])
    np.testing.assert_array_equal(np.array(found, np.float32), view.wei)
    document = json.loads(saved(page, "attention-poem-heads"))
    np.testing.assert_array_equal(np.array(document["wei"], np.float32), view.wei)
    assert tuple(document["tokens"]) == view.tokens


def test_a_chain_holds_the_checkpoint_s_numbers(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    view: Any = clearhead.load(studio_runs / "poem").attention(TEXT, layer=1, head=0, position=9).view
    page = visitor.open(studio, ADDRESS)
    ready(page, "attention")
    document = json.loads(saved(page, "chain-1.0-9"))
    for name in ("k", "v"):
        np.testing.assert_array_equal(np.array(document[name], np.float32), getattr(view.chain, name))
    for name in ("q", "products", "wei", "out"):
        np.testing.assert_array_equal(np.array(document[name], np.float32), getattr(view.chain, name)[9])
    assert document["scale"] == view.chain.scale
    words = page.get_by_text("The token that came").inner_text()
    assert f"{abs(view.saved[9]):.3f} bits {'less' if view.saved[9] < 0 else 'more'}" in words


def test_pointing_at_a_number_says_what_makes_it(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    chain: Any = clearhead.load(studio_runs / "poem").attention(TEXT, layer=1, head=0).view.chain  # type: ignore[union-attr]
    page = visitor.open(studio, ADDRESS)
    ready(page, "attention")
    square = page.locator("[data-picture='head-1.0-pattern']")
    square.focus()
    page.keyboard.press("ArrowLeft")  # from (9, 9) to (9, 8)
    told = square.locator("xpath=..").locator(".told")
    told.get_by_text("looks at").wait_for()
    words = told.inner_text()
    assert f"q·k = {chain.products[9, 8]:.3f}" in words
    assert f"softmax {chain.wei[9, 8]:.4f}" in words
    assert f"without the scale {chain.wei_unscaled[9, 8]:.4f}" in words
    table = page.locator("[data-picture^=chain]")
    table.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):  # the softmax of key 1
        page.keyboard.press(key)
        page.wait_for_timeout(50)
    assert f"= {chain.wei[9, 1]:.4f}" in table.locator("xpath=..").locator(".told").inner_text()


def test_heads_stand_in_the_order_of_what_they_are_worth(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    scores = clearhead.load(studio_runs / "poem").attention(TEXT).view.scores  # type: ignore[union-attr]
    page = visitor.open(studio, ADDRESS)
    ready(page, "attention")
    page.locator("[data-worth=ready]").wait_for()
    rows = page.locator("tr[data-head]")
    assert rows.evaluate_all("all => all.map((row) => row.dataset.head)") == [
        f"{score.layer}.{score.head}" for score in scores.heads
    ]
    first = scores.heads[0]
    words = rows.first.inner_text()
    for value in (first.entropy, first.previous, first.duplicate, first.induction):
        assert f"{value:.{2 if value is first.entropy else 3}f}" in words
    page.get_by_role("button", name="By what it is worth").click()
    assert "sort=cost" in page.url


def test_a_link_leads_to_the_same_again(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, "/poem/attention")
    ready(page, "attention")
    page.get_by_label("Text to look at").fill(TEXT)
    page.get_by_role("button", name="Look").click()
    page.locator("[data-worth=ready]").wait_for()
    page.get_by_role("button", name="1.1", exact=True).click()
    page.locator("section[data-head='1.1']").wait_for()
    page.get_by_role("button", name="scaled, masked").click()
    page.locator("[data-picture='head-1.1-lines']").focus()
    page.keyboard.press("ArrowUp")
    page.wait_for_timeout(100)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="From 11").wait_for()
    address = page.url
    assert all(part in address for part in ("text=The+wind+went", "layer=1", "head=1", "stage=scores", "position=11"))
    page.reload()
    ready(page, "attention")
    assert page.get_by_role("heading", name="Layer 1, head 1").is_visible()
    assert page.get_by_role("heading", name="From 11").is_visible()
    assert page.get_by_role("button", name="scaled, masked").get_attribute("aria-pressed") == "true"
    assert page.url == address


def test_the_slider_goes_through_checkpoints(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    run = clearhead.load(studio_runs / "poem")
    steps = run.directory.steps()
    page = visitor.open(studio, ADDRESS)
    ready(page, "attention")
    page.get_by_label("Checkpoint", exact=True).focus()
    page.keyboard.press("Home")
    page.locator(f"section[data-step='{steps[0]}']").wait_for()
    assert f"step={steps[0]}" in page.url
    model = load_checkpoint(run.directory, steps[0]).model.eval()
    wanted = attention(model, run.tokenizer, TEXT, measure=False).wei
    found = json.loads(saved(page, "attention-poem-heads"))
    assert found["step"] == steps[0]
    np.testing.assert_array_equal(np.array(found["wei"], np.float32), wanted)


@pytest.mark.parametrize("name", ["attention-poem-heads", "head-1.0-lines", "head-1.0-pattern", "chain-1.0-9"])
def test_every_picture_is_saved(name: str, studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, ADDRESS)
    ready(page, "attention")
    assert saved(page, name, "PNG").startswith(b"\x89PNG")
    drawn = saved(page, name, "SVG")
    assert drawn.startswith(b"<svg")
    assert drawn.endswith(b"</svg>")
    assert b"<script" not in drawn


def test_what_cannot_be_looked_at_is_said(studio: Studio, visitor: Visitor) -> None:
    visitor.watch.expected = ("400",)
    page = visitor.open(studio, "/table/attention")
    section = page.locator("section[data-view=attention]")
    section.get_by_role("alert").first.wait_for()
    assert "a bigram has no heads" in section.get_by_role("alert").first.inner_text()
    page.goto(f"{studio.address}/#/poem/attention?text=%C3%A6")
    page.get_by_text("is not among the vocabulary").first.wait_for()
