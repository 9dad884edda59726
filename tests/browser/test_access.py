"""Readable for everybody: no serious finding of axe-core, every width, both colours, the keyboard alone."""

import os
from pathlib import Path

import pytest

from browser.shared_browser import Studio, Visitor, ready

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ("runs", "train", "play", "ladder", "attention", "embeddings", "inside", "lessons")
ADDRESSES = {
    "runs": "/runs?compare=poem,table",
    "train": "/table/train",
    "play": "/poem/play?text=The%20wind&with=table",
    "ladder": "/poem/ladder",
    "attention": "/poem/attention?text=The%20wind",
    "embeddings": "/poem/embeddings?token=e&analogy=I+i+a",
    "inside": "/poem/inside?sub=step&text=The%20wind",
    "lessons": "/lessons?lesson=7",
}


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, where `make` could have it from the npm registry."""
    if AXE.exists():
        return AXE.read_text(encoding="utf-8")
    if os.environ.get("CI") == "true":
        pytest.fail("CI has no axe-core: nobody would know whether the page is accessible")
    pytest.skip("axe-core is not at hand; `make lint` installs it where there is an npm registry")


@pytest.mark.parametrize("colours", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(view: str, colours: str, axe: str, studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio)
    page.emulate_media(color_scheme=colours)  # type: ignore[arg-type]
    page.goto(f"{studio.address}/#{ADDRESSES[view]}")
    ready(page, view)
    if view == "play":
        page.get_by_role("button", name="Write", exact=True).click()
        page.locator("[data-writing=no]").wait_for()
    if view == "ladder":
        page.locator("[data-figure=waterfall]").wait_for()
    page.get_by_text("What am I looking at?").click()
    assert page.evaluate("document.documentElement.dataset.theme") == colours
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = [
        (one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:4]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("width", [360, 1440, 2560])
def test_every_width_shows_everything(width: int, studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio)
    page.set_viewport_size({"width": width, "height": 800})
    for view in VIEWS:
        page.goto(f"{studio.address}/#{ADDRESSES[view]}")
        ready(page, view)
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{view} is {wide[0]} pixels wide on {width}"


def test_each_view_says_what_it_is_in_three_sentences(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio)
    for view in VIEWS:
        page.goto(f"{studio.address}/#{ADDRESSES[view]}")
        ready(page, view)
        about = page.evaluate("(view) => import(`/static/views/${view}.js`).then((module) => module.view.about)", view)
        assert len(about) == 3
        assert page.locator(".about a").get_attribute("href", timeout=5_000) is not None


def test_a_text_is_trained_on_and_played_with_by_keyboard(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio)
    ready(page, "runs")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.get_by_role("link", name="Play", exact=True).focus()
    page.keyboard.press("Enter")
    ready(page, "play")
    page.get_by_label("Prompt").focus()
    page.keyboard.type("The hill")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # Write
    page.locator("[data-writing=no]").wait_for()
    page.locator(".coloured").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.locator(".tip").is_visible()
    page.keyboard.press("Enter")
    page.locator(".sampler tr.came").wait_for()
    page.keyboard.press("Escape")
    assert not page.locator(".tip").is_visible()
    slider = page.get_by_label("Temperature", exact=True)
    slider.focus()
    page.keyboard.press("Home")
    assert "always the likeliest" in page.locator(".sampler output").inner_text()
    assert page.locator(".sampler").get_attribute("data-choices") == "1"


def test_colours_are_the_system_s_until_somebody_chooses(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio)
    ready(page, "runs")
    page.emulate_media(color_scheme="dark")
    page.locator(":root[data-theme=dark]").wait_for()
    page.get_by_label("Change to light colours").click()
    page.reload()
    page.locator(":root[data-theme=light]").wait_for()
