"""The course on the page: a question waits, what is measured comes after it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.shared_browser import Studio, Visitor, ready, studio_on
from conftest import POEM

REGISTER = """(path) => fetch("/api/texts/path", {method: "POST", headers: {"content-type": "application/json"},
  body: JSON.stringify({path})}).then((answer) => answer.json())"""


@pytest.fixture
def own_studio(tmp_path: Path) -> Iterator[Studio]:
    """A studio whose lessons nobody else has begun."""
    with studio_on(tmp_path / "runs") as running:
        yield running


def _begin(page: Any, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text(POEM * 40, encoding="utf-8")
    ready(page, "lessons")
    known = page.evaluate(REGISTER, str(text))
    page.reload()
    ready(page, "lessons")
    page.get_by_label("On the text").select_option(known["id"])
    page.get_by_role("button", name="Begin", exact=True).click()
    page.locator("[data-question=waiting]").wait_for()


def test_a_lesson_waits_for_a_prediction(own_studio: Studio, visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.open(own_studio, "/lessons?lesson=1")
    _begin(page, tmp_path)
    page.locator("section[data-told=asking]").wait_for()
    assert page.locator("[data-answer]").count() == 0
    typed = page.get_by_label("Your prediction")
    for words in ("many", ".", "12 or so", ""):
        typed.fill(words)
        page.get_by_role("button", name="Predict", exact=True).click()
        assert not typed.evaluate("input => input.validity.valid")
    for words in ("1e-3", "1,115", "-.5", "12%", "12"):
        typed.fill(words)
        assert typed.evaluate("input => input.validity.valid")
    assert page.locator("[data-question=waiting]").count() == 1
    page.get_by_role("button", name="Predict", exact=True).click()
    page.locator("section[data-told=done]").wait_for()
    measured = page.locator("[data-answer]").first
    assert float(measured.get_attribute("data-answer") or "nan") == len(set(POEM))
    assert f"You said 12. Measured: {len(set(POEM))}" in measured.inner_text()
    assert page.get_by_role("heading", name="What follows").is_visible()
    assert page.locator(".claim").count() > 0
    page.reload()  # what was told is there again
    ready(page, "lessons")
    page.locator("section[data-told=done]").wait_for()
    assert page.locator("[data-answer]").count() == 1
    assert page.locator(".course .tick").count() == 1
    page.get_by_role("link", name="The next lesson").click()
    page.get_by_role("heading", name="2. ").wait_for()


def test_choices_are_buttons_and_none_is_needed(own_studio: Studio, visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.open(own_studio, "/lessons?lesson=6")
    _begin(page, tmp_path)
    question = page.locator("[data-question=waiting]")
    question.get_by_role("button", name="Go on without a prediction").click()
    page.locator("[data-answer]").first.wait_for()
    assert "Measured:" in page.locator("[data-answer]").first.inner_text()


def test_a_lesson_opens_the_views_it_speaks_of(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, "/lessons?lesson=7")
    ready(page, "lessons")
    page.locator(".card").get_by_role("link", name="attention", exact=True).click()
    ready(page, "attention")
