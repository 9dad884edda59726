"""The whole story in a browser: an empty folder, a text, a model that trains, its place on the ladder, its words."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser.shared_browser import Studio, Visitor, ready, studio_on
from conftest import POEM

EVIL = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
"""What would run if the page took text for markup."""


def upload(page: Any, text: str, name: str = "poem.txt") -> None:
    page.set_input_files("input[type=file]", {"name": name, "mimeType": "text/plain", "buffer": text.encode()})
    page.locator("button.primary:enabled").wait_for()


def train(page: Any, **settings: Any) -> None:
    """Press train with some details filled in."""
    page.get_by_text("Details", exact=True).click()
    for words, value in settings.items():
        page.get_by_label(words.replace("_", " "), exact=True).fill(str(value))
    page.locator("button.primary").click()


SMALL = {"Layers": 1, "Heads": 2, "Width": 32, "Context": 32, "Batch": 8}


def points(page: Any) -> int:
    return int(page.locator("section[data-view=train]").get_attribute("data-points") or 0)


def wait_for(page: Any, condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come to pass within a minute")


def test_from_an_empty_folder_to_a_model_that_writes(empty_studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(empty_studio)
    ready(page, "runs")
    assert "Nothing is here yet" in page.locator("main").inner_text()
    upload(page, POEM * 40)
    assert f"{len(POEM * 40):,} characters" in page.locator(".starter").inner_text()
    train(page, Steps=250, **SMALL)

    section = ready(page, "train")
    assert page.url.endswith("#/poem-gpt/train")
    page.locator("[data-run-state=training]").wait_for()
    wait_for(page, lambda: points(page) > 10)
    first = points(page)
    wait_for(page, lambda: points(page) > first)  # the curve moves by itself
    page.reload()
    wait_for(page, lambda: points(page) > first)  # a reload loses nothing
    second = visitor.open(empty_studio, "/poem-gpt/train")
    wait_for(second, lambda: points(second) > first)  # a second tab sees the same
    second.close()
    page.locator("[data-run-state=done]").wait_for()
    wait_for(page, lambda: points(page) == 250)
    assert "ngram" in section.locator("[data-figure=loss]").inner_text()
    assert section.locator(".strip li").count() >= 2

    page.get_by_role("link", name="Ladder", exact=True).click()
    ready(page, "ladder")
    assert {"uniform", "unigram", "bigram", "ngram", "gpt"} <= set(
        page.locator("tr[data-rung]").evaluate_all("rows => rows.map(row => row.dataset.rung)")
    )
    page.locator("[data-gains=ready]").wait_for()

    page.get_by_role("link", name="Play", exact=True).click()
    ready(page, "play")
    page.get_by_label("Prompt").fill("The wind")
    page.get_by_label("Tokens").fill("40")
    page.get_by_role("button", name="Write", exact=True).click()
    page.locator("[data-writing=no]").wait_for()
    assert page.locator(".coloured span").count() == len("The wind") + 40


@pytest.mark.slow
def test_a_studio_that_is_killed_loses_nothing(visitor: Visitor, tmp_path: Path) -> None:
    visitor.watch.expected = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE", "401")
    with studio_on(tmp_path / "runs") as studio:
        page = visitor.open(studio)
        ready(page, "runs")
        upload(page, POEM * 40)
        train(page, Steps=3000, **SMALL)
        ready(page, "train")
        wait_for(page, lambda: points(page) > 10)
        before = points(page)
        studio.close(signal.SIGKILL)
        page.get_by_text("The studio does not answer").wait_for()  # and says that training goes on
    with studio_on(tmp_path / "runs") as studio:
        page = visitor.open(studio, "/poem-gpt/train")
        ready(page, "train")
        wait_for(page, lambda: points(page) > before)
        page.get_by_role("button", name="Pause").click()
        page.locator("[data-run-state=paused]").wait_for()
        stood = points(page)
        page.get_by_role("button", name="Resume").click()
        wait_for(page, lambda: points(page) > stood)
        page.get_by_role("button", name="Stop").click()
        page.locator("[data-run-state=stopped]").wait_for()

        page.get_by_role("link", name="Runs", exact=True).click()
        ready(page, "runs")
        page.get_by_role("button", name="Rename poem-gpt").click()
        page.get_by_label("New name").fill("second")
        page.locator("dialog button.primary").click()
        page.locator("tr[data-run=second]").wait_for()
        page.get_by_role("button", name="Delete second").click()
        page.locator("dialog").get_by_role("button", name="Cancel").click()
        assert page.locator("tr[data-run=second]").count() == 1
        page.get_by_role("button", name="Delete second").click()
        page.locator("dialog button.primary").click()
        page.locator("tr[data-run=second]").wait_for(state="detached")
        assert not (tmp_path / "runs" / "second").exists()


def test_text_is_always_text(empty_studio: Studio, visitor: Visitor) -> None:
    """A corpus, a file's name and what a model has learned of them are shown, and never run."""
    page = visitor.open(empty_studio)
    ready(page, "runs")
    upload(page, f"{EVIL}\n" * 400, "<b>evil</b>.txt")
    assert EVIL in page.locator("pre.begins").inner_text()
    train(page, Steps=60, Name="evil", **SMALL)
    page.locator("[data-run-state=done]").wait_for()
    page.goto(f"{empty_studio.address}/#/evil/play?text={EVIL.split('>')[0]}&n=60")
    ready(page, "play")
    page.get_by_role("button", name="Write", exact=True).click()
    page.locator("[data-writing=no]").wait_for()
    shown = "".join(page.locator(".coloured span").all_text_contents())
    assert shown.startswith("<img")
    page.locator(".coloured span").first.hover()
    page.goto(f"{empty_studio.address}/#/evil/ladder")
    ready(page, "ladder")
    page.locator("[data-gains=ready]").wait_for()
    page.goto(f"{empty_studio.address}/#/runs?compare=evil")
    page.locator("[data-figure=comparison][data-runs=evil]").wait_for()
    assert page.evaluate("window.owned") is None
    assert page.locator("main img, main script, td b").count() == 0


def test_bytes_that_are_no_utf8_ask_for_their_encoding(empty_studio: Studio, visitor: Visitor) -> None:
    visitor.watch.expected = ("400",)
    page = visitor.open(empty_studio)
    ready(page, "runs")
    text = "Über den Hügel ging der Wind.\n" * 300
    page.set_input_files(
        "input[type=file]", {"name": "wind.txt", "mimeType": "text/plain", "buffer": text.encode("cp1252")}
    )
    page.get_by_label("Encoding").wait_for()
    assert "UTF-8" in page.locator(".problem").inner_text()
    page.get_by_role("button", name="Try").click()
    page.locator("button.primary:enabled").wait_for()
    assert "Über den Hügel" in page.locator("pre.begins").inner_text()


def test_a_text_is_dropped_pasted_or_named(empty_studio: Studio, visitor: Visitor, tmp_path: Path) -> None:
    visitor.watch.expected = ("400",)
    (tmp_path / "named.txt").write_text(POEM * 40, encoding="utf-8")
    page = visitor.open(empty_studio)
    ready(page, "runs")
    page.evaluate(
        """(text) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([text], "dropped.txt"));
      const dropped = new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true});
      document.querySelector(".drop").dispatchEvent(dropped);
    }""",
        POEM * 40,
    )
    pressed = page.locator(".text[aria-pressed=true]")
    page.locator(".text", has_text="dropped.txt").and_(pressed).wait_for()
    page.get_by_role("button", name="Paste").click()
    page.get_by_label("Text to train on").fill(POEM * 40)
    page.get_by_role("button", name="Use this text").click()
    page.locator(".text", has_text="pasted.txt").and_(pressed).wait_for()
    page.get_by_role("button", name="Path").click()
    page.get_by_label("Path of a file").fill(str(tmp_path / "missing.txt"))
    page.get_by_role("button", name="Use this file").click()
    page.locator(".problem", has_text="missing.txt").wait_for()  # in the words of the command line
    page.get_by_label("Path of a file").fill(str(tmp_path / "named.txt"))
    page.keyboard.press("Enter")
    page.locator(".text", has_text="named.txt").and_(pressed).wait_for()
    page.get_by_role("button", name="Train", exact=True).and_(page.locator(":enabled")).wait_for()
