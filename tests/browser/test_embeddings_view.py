"""The view Embeddings: one hover for rows and map, neighbours in the original space, what a picture keeps."""

import json
from pathlib import Path
from typing import Any

import numpy as np

import clearhead
from browser.shared_browser import Studio, Visitor, ready
from browser.test_attention_view import saved
from clearhead.inspection.tables import tables_of
from clearhead.runs.checkpoint import load_checkpoint

ADDRESS = "/poem/embeddings?token=e"


def test_rows_and_map_are_the_tables_of_python(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    view: Any = clearhead.load(studio_runs / "poem").embeddings().view
    page = visitor.open(studio, ADDRESS)
    ready(page, "embeddings")
    for number, found in enumerate(view.tables):
        name = found.table.name
        page.get_by_role("group", name="Table").get_by_role("button", name=name).click()
        rows = json.loads(saved(page, f"embeddings-poem-{name}"))
        np.testing.assert_array_equal(np.array(rows["vectors"], np.float32), found.table.vectors.astype(np.float32))
        drawn = json.loads(saved(page, f"map-poem-{name}"))
        wanted = next(m for m in found.through if m.step == view_step(studio_runs))
        np.testing.assert_allclose(drawn["points"], wanted.points)
        picture = saved(page, f"map-poem-{name}", "SVG").decode()
        assert f"{100 * wanted.kept:.1f} % of the 5 nearest kept (chance {100 * found.flat.chance:.1f} %)" in picture
        assert number < 2


def view_step(runs: Path) -> int:
    """The checkpoint that is looked at unasked."""
    return clearhead.load(runs / "poem").step


def test_one_hover_lights_both_and_names_the_neighbours(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    view: Any = clearhead.load(studio_runs / "poem").embeddings().view
    page = visitor.open(studio, "/poem/embeddings")
    ready(page, "embeddings")
    rows = page.locator("[data-picture='embeddings-poem-embedding']")
    rows.focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(50)
    near = page.locator("[data-token]")
    token = near.get_attribute("data-token") or ""
    wanted = view.tables[0].neighbours
    i = view.tokens.index(token)
    words = near.inner_text()
    for other, cosine in zip(wanted.cosine[i], wanted.cosines[i], strict=True):
        assert f"“{view.tokens[other]}”" in words
        assert f"{cosine:.3f}" in words
    page.keyboard.press("Enter")
    assert "token=" in page.url
    assert "dimension=" in page.url
    page.reload()
    ready(page, "embeddings")
    assert page.locator("[data-token]").get_attribute("data-token") == token
    assert page.locator(".dimension[data-own=true]").count() == 1


def test_the_slider_moves_rows_and_points_on_the_same_axes(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    run = clearhead.load(studio_runs / "poem")
    first = run.directory.steps()[0]
    page = visitor.open(studio, ADDRESS)
    ready(page, "embeddings")
    page.get_by_label("Checkpoint", exact=True).focus()
    page.keyboard.press("Home")
    page.locator(f"section[data-step='{first}']").wait_for()
    older = tables_of(load_checkpoint(run.directory, first).model)[0].vectors
    rows = json.loads(saved(page, "embeddings-poem-embedding"))
    np.testing.assert_array_equal(np.array(rows["vectors"], np.float32), older.astype(np.float32))
    view: Any = run.embeddings().view
    drawn = json.loads(saved(page, "map-poem-embedding"))
    np.testing.assert_allclose(drawn["points"], view.tables[0].through[0].points)
    assert drawn["kept"] == view.tables[0].through[0].kept


def test_an_analogy_is_answered_with_its_inputs(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    page = visitor.open(studio, "/poem/embeddings")
    ready(page, "embeddings")
    for name, token in zip("abc", "Iia", strict=True):
        page.get_by_label(name, exact=True).fill(token)
    page.get_by_role("button", name="Ask").click()
    page.locator("[data-answer=embedding]").wait_for()
    view: Any = clearhead.load(studio_runs / "poem").embeddings(analogies=[("I", "i", "a")]).view
    for answer in view.analogies[0].answers:
        assert page.locator(f"[data-answer={answer.table}]").inner_text() == answer.first
    given = page.locator(".answer").first.locator(".chip.given")
    assert given.count() == sum(ranked.is_input for ranked in view.analogies[0].answers[0].ranked)
    page.reload()
    page.locator("[data-answer=embedding]").wait_for()


def test_dimensions_have_their_null(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    view: Any = clearhead.load(studio_runs / "poem").embeddings().view
    page = visitor.open(studio, "/poem/embeddings?dimension=5")
    ready(page, "embeddings")
    five = view.tables[0].meaning.dimensions[5]
    words = page.locator("[data-dimension='5']").inner_text()
    for name, r in five.correlations.items():
        assert name in words
        assert f"{'−' if r < 0 else '+'}{abs(r):.2f}" in words
        assert f"p {five.p_rotation[name]:.3f}" in words


def test_a_table_of_a_bigram_is_a_space_too(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, "/table/embeddings")
    ready(page, "embeddings")
    page.get_by_text("in three dimensions").click()
    page.locator("[data-figure=table-solid-rows] canvas").first.wait_for()
