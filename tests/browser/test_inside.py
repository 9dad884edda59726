"""The view Inside: the lens, the sum check, the stages, the trick, the table, the starts."""

from pathlib import Path
from typing import Any

import clearhead
from browser.shared_browser import Studio, Visitor, ready

TEXT = "text=The%20wind"


def test_the_parts_of_a_logit_add_up_on_the_page(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    page = visitor.open(studio, f"/poem/inside?sub=lens&{TEXT}&position=6&against=e")
    ready(page, "inside")
    view: Any = clearhead.load(studio_runs / "poem").lens("The wind", position=6, against="e").view
    found = view.decomposition
    words = page.locator("[data-check=lens]").inner_text()
    assert f"parts sum to {found.total:.6f}, the model says {found.logit:.6f}" in words
    assert page.locator("[data-figure$=parts]").is_visible()
    page.get_by_label("Patch into another text").fill("The wand")
    page.keyboard.press("Tab")
    page.locator("[data-figure$=patching]").wait_for()
    assert "patch=The+wand" in page.url
    page.locator("input[name=position]").fill("3")  # before the texts differ
    page.keyboard.press("Tab")
    page.get_by_text("nothing to share out").first.wait_for()


def test_a_column_of_the_lens_chooses_the_position(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, f"/poem/inside?sub=lens&{TEXT}")
    ready(page, "inside")
    box = page.locator("[data-figure$=lens] .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 2.5 / 8, box["y"] + box["height"] / 2)
    page.get_by_role("heading", name=", after position 2").wait_for()
    assert "position=2" in page.url


def test_a_step_is_walked_stage_by_stage(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    view: Any = clearhead.load(studio_runs / "poem").one_step("The wind", block=1).view
    page = visitor.open(studio, f"/poem/inside?sub=step&{TEXT}")
    ready(page, "inside")
    page.get_by_role("button", name="Block 1").click()
    page.locator(".stages th", has_text="1: q").first.wait_for()
    stages = [s for s in view.stages if s.block in (None, 1) or s.name == "x = x + ffwd"]
    rows = page.locator(".stages tbody tr")
    assert rows.count() == len(stages)
    for number, stage in enumerate(stages):
        words = rows.nth(number).inner_text()
        assert stage.name in words
        assert " × ".join(map(str, stage.shape)) in words
        assert stage.words in words
        if stage.name != "idx":
            assert all(f"{value:.3f}" in words for value in stage.first if value == value and abs(value) < 1e6)
    page.get_by_role("button", name="Next stage").click()
    assert rows.nth(1).get_attribute("class") == "on"
    assert f"Loss: mean of −log softmax over 7 positions = {view.loss:.4f} nats" in page.locator("main").inner_text()
    page.get_by_label("Backward: one training step").check()
    page.locator("[data-figure$=moved]").wait_for()
    assert "backward=true" in page.url
    assert "stage=1" in page.url
    page.reload()
    ready(page, "inside")
    assert page.locator("[data-figure$=moved]").is_visible()
    assert page.locator(".stages tbody tr").nth(1).get_attribute("class") == "on"


def test_the_four_ways_of_the_trick_meet(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, f"/poem/inside?sub=trick&{TEXT}")
    ready(page, "inside")
    words = page.locator("[data-check=trick]").inner_text()
    assert all(way in words for way in ("loop", "triangular matrix", "softmax of a mask", "attention, equal keys"))
    assert page.locator("[data-figure$=trick]").is_visible()


def test_the_table_has_its_certificate(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    view: Any = clearhead.load(studio_runs / "table").bigram().view
    page = visitor.open(studio, "/table/inside")
    ready(page, "inside")
    words = page.locator(".found").inner_text()
    for value in (view.bits.loss, view.bits.floor, view.bits.leak, view.bits.misfit, view.bits.gap):
        assert f"{value:.4f} bits" in words
    assert page.locator("[data-stabilised]").get_attribute("data-stabilised") == str(view.stabilised).lower()
    drawn = page.locator("[data-figure$=softmax]")
    drawn.scroll_into_view_if_needed()
    box = drawn.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.get_by_role("link", name="the whole table").wait_for()
    assert "current=" in page.url


def test_starts_are_measured_when_asked(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, "/table/inside?sub=init")
    ready(page, "inside")
    page.get_by_label("Steps of each start").fill("2")
    page.get_by_role("button", name="Measure every start").click()
    page.locator("[data-figure$=init]").wait_for()
    assert "steps=2" in page.url
