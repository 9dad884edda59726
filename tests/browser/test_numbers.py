"""What the page shows is what the API and the Python functions say, to the last digit it prints."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clearhead
from browser.shared_browser import Studio, Visitor, ready
from clearhead.generation.sampling import chances, draw, probabilities

SETTINGS = [(1.0, None, None), (0.3, None, None), (2.0, None, 0.9), (0.8, 5, None), (1.3, 40, 0.5), (0.0, None, None)]

NEVER = 7
"""A token that is never drawn."""
LADDER = """async ([logits, temperature, top_k, top_p, u]) => {
  const {draw, entropy, ladder, softmax} = await import("/static/lib/softmax.js");
  const values = logits.map((v) => v ?? -Infinity), found = ladder(values, {temperature, top_k, top_p});
  return {softmax: [...softmax(values)], probability: [...found.probability], drawn: draw(found.probability, u),
    entropy: entropy(found.probability), cut: found.cut};
}"""


@pytest.mark.parametrize("vocabulary", [65, 50_257])
def test_softmax_in_the_page_is_the_softmax_of_torch(vocabulary: int, studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio)
    ready(page, "runs")
    logits = torch.from_numpy(np.random.default_rng(vocabulary).normal(0, 4, (1, vocabulary)))
    logits[0, NEVER] = float("-inf")
    told = [None if math.isinf(value) else value for value in logits[0].tolist()]
    for seed, (temperature, top_k, top_p) in enumerate(SETTINGS):
        u = torch.tensor([chances(seed, 0).random()])
        found = page.evaluate(LADDER, [told, temperature, top_k, top_p, float(u[0])])
        wanted = probabilities(logits, temperature, top_k, top_p)
        np.testing.assert_allclose(found["softmax"], logits.softmax(-1)[0].numpy(), rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(found["probability"], wanted[0].numpy(), rtol=1e-9, atol=1e-300)
        assert found["drawn"] == int(draw(wanted, u))
        assert found["entropy"] == pytest.approx(float(-(wanted * wanted.clamp(min=1e-300).log2()).sum()), abs=1e-9)
        kept = [token for token, reason in enumerate(found["cut"]) if not reason and token != NEVER]
        assert kept == [token for token, share in enumerate(wanted[0].tolist()) if share > 0]


def test_the_table_of_runs_says_what_the_api_says(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio)
    ready(page, "runs")
    for run in page.evaluate("fetch('/api/runs').then((answer) => answer.json())")["runs"]:
        words = page.locator(f"tr[data-run={run['name']}]").inner_text()
        assert f"{run['bits']:.3f}" in words
        assert f"{run['val']:.3f}" in words
        assert run["bits"] == pytest.approx(run["val"] / math.log(2))  # tokens are characters here


def test_the_ladder_on_the_page_is_the_ladder_in_python(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    page = visitor.open(studio, "/poem/ladder")
    ready(page, "ladder")
    for rung in clearhead.load(studio_runs / "poem").ladder().rungs:
        words = page.locator(f"tr[data-rung={rung.name}]").inner_text()
        assert f"{rung.bits_per_char:.4f}" in words
        assert f"{rung.nats_per_token:.4f}" in words
    page.locator("[data-gains=ready]").wait_for()
    page.get_by_label("Rung", exact=True).select_option("bigram")
    gained = page.locator("[data-gains]")
    found = clearhead.load(studio_runs / "poem").gains()
    nats = {rung.name: rung.nats for rung in found.rungs}
    assert gained.get_attribute("data-over") == "unigram"
    wanted = (nats["unigram"] - nats["bigram"]).mean() / math.log(2)
    assert float(gained.get_attribute("data-mean") or "nan") == pytest.approx(wanted, abs=1e-9)


def test_the_token_that_the_page_draws_is_the_one_that_is_written(
    studio: Studio, studio_runs: Path, visitor: Visitor
) -> None:
    run = clearhead.load(studio_runs / "poem")
    page = visitor.open(studio, "/poem/play?text=The%20wind&T=0.7&k=9&p=0.95&seed=5&n=8")
    ready(page, "play")
    panel = page.locator(".sampler[data-drawn]")
    view: Any = run.next("The wind", temperature=0.7, top_k=9, top_p=0.95, seed=5).view
    assert int(panel.get_attribute("data-drawn") or -1) == view.drawn
    assert float(panel.get_attribute("data-u") or "nan") == pytest.approx(view.u)
    assert float(panel.get_attribute("data-entropy") or "nan") == pytest.approx(view.spread[-1].entropy, abs=1e-6)
    shares = panel.locator("tr[data-id]").evaluate_all("rows => rows.map((row) => [+row.dataset.id, +row.dataset.p])")
    wanted = {candidate.id: candidate.probability for candidate in view.candidates}
    assert len(shares) >= 12
    for token, share in shares:
        assert share == pytest.approx(wanted[token], rel=1e-5, abs=1e-12)
    page.get_by_role("button", name="Write", exact=True).click()
    page.locator("[data-writing=no]").wait_for()
    written = "".join(
        page.locator(".coloured span:not(.given)").evaluate_all("all => all.map((one) => one.textContent)")
    )
    asked = run.generate("The wind", temperature=0.7, top_k=9, top_p=0.95, seed=5, max_new_tokens=8)
    assert written == asked.replace(" ", "·").replace("\n", "↵\n")


def test_a_character_is_another_with_a_click(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, "/poem/play?text=The%20wind&n=20")
    ready(page, "play")
    page.get_by_role("button", name="Write", exact=True).click()
    page.locator("[data-writing=no]").wait_for()
    before = page.locator(".coloured span").all_text_contents()
    page.locator(".coloured span").nth(10).click()
    page.locator(".sampler tr.came").wait_for()
    other = page.locator(".sampler tr:not(.came) button.mono").first
    token = other.inner_text()
    other.click()
    page.locator("[data-writing=no]").wait_for()
    after = page.locator(".coloured span").all_text_contents()
    assert after[:10] == before[:10]
    assert after[10].rstrip("\n") == token
    page.reload()  # the address holds the branch
    ready(page, "play")
    assert page.get_by_label("Prompt").input_value().startswith("The wind")


def test_two_models_write_beside_each_other(studio: Studio, visitor: Visitor) -> None:
    page = visitor.open(studio, "/poem/play?text=The%20&n=12&with=table")
    ready(page, "play")
    page.get_by_role("button", name="Write", exact=True).click()
    page.locator("[data-writing=no]").wait_for()
    for name in ("poem", "table"):
        sheet = page.locator(f"[data-sheet={name}]")
        assert sheet.locator(".coloured span").count() == 4 + 12
        assert "bits a token" in sheet.inner_text()


def test_a_bigram_shows_its_certificate(studio: Studio, studio_runs: Path, visitor: Visitor) -> None:
    page = visitor.open(studio, "/table/train")
    ready(page, "train")
    page.locator(".certificate").wait_for()
    lines = (studio_runs / "table" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    last = [event for event in map(json.loads, lines) if event["event"] == "certified"][-1]
    bits = {name: f"{last[name] / math.log(2):.4f}" for name in ("gap", "floor", "leak", "misfit")}
    words = page.locator(".certificate").inner_text()
    assert words.startswith(f"At step {last['step']}: {bits['gap']} bits above the floor of {bits['floor']}:")
    assert words.endswith(f"{bits['leak']} leak, {bits['misfit']} misfit.")
