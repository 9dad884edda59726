"""What the page is told is what the Python interface finds: the same numbers, the same words, the same errors."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

import clearhead
from clearhead.errors import ClearheadError
from studio.opened import Client, address

LOOKS: list[tuple[str, str, dict[str, Any], str, dict[str, Any]]] = [
    # view, run, as the page asks, method, as Python asks
    ("attention", "poem", {"text": "The wind"}, "attention", {"text": "The wind"}),
    (
        "attention",
        "poem",
        {"text": "The wind", "layer": 1, "head": 0, "position": 3},
        "attention",
        {"text": "The wind", "layer": 1, "head": 0, "position": 3},
    ),
    ("bigram", "poem", {}, "bigram", {}),
    ("bigram", "poem", {"current": "t", "following": "h"}, "bigram", {"current": "t", "following": "h"}),
    (
        "embeddings",
        "poem",
        {"tokens": ["t", "h"], "dimension": 3},
        "embeddings",
        {"tokens": ["t", "h"], "dimensions": [3]},
    ),
    (
        "lens",
        "poem",
        {"text": "The wind", "position": 2, "token": "e"},
        "lens",
        {"text": "The wind", "position": 2, "token": "e"},
    ),
    ("lens", "poem", {"text": "The wind", "patch": "The rain"}, "lens", {"text": "The wind", "other": "The rain"}),
    ("loss", "poem", {"text": "and the hill"}, "loss", {"text": "and the hill"}),
    (
        "next",
        "poem",
        {"prompt": "The ", "temperature": 0.5, "top_k": 4, "seed": 7},
        "next",
        {"prompt": "The ", "temperature": 0.5, "top_k": 4, "seed": 7},
    ),
    ("next", "verse", {}, "next", {}),
    (
        "step",
        "poem",
        {"text": "The wind", "layer": 1, "backward": 1},
        "one_step",
        {"text": "The wind", "block": 1, "backward": True},
    ),
    ("trick", "names", {"text": "anna"}, "trick", {"text": "anna"}),
]


@pytest.fixture(scope="module")
def runs(atelier_runs: Path) -> dict[str, clearhead.Run]:
    return {name: clearhead.load(atelier_runs / name) for name in ("poem", "verse", "names")}


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize(("view", "run", "asked", "method", "settings"), LOOKS)
def test_a_look_is_the_view_of_the_python_interface(
    atelier: Client, runs: dict[str, clearhead.Run], view: str, run: str, asked: Any, method: str, settings: Any
) -> None:
    found = atelier.get(address(run, "look", view), **asked)
    shown = getattr(runs[run], method)(**settings)
    assert found["numbers"] == as_json(shown.to_dict())
    assert found["title"] == shown.view.title
    assert found["text"] == str(shown.view)
    assert found["step"] == runs[run].step
    figures = {name: json.loads(figure.to_json()) for name, figure in shown.figures().items()}
    assert found["figures"] == figures
    assert atelier.get(address(run, "look", view), **asked) == found


def test_init_is_asked_for_with_steps(atelier: Client) -> None:
    found = atelier.get(address("poem", "look", "init"), steps=1)
    assert found["figures"]
    assert found["numbers"]["view"] == "init"


def test_a_checkpoint_is_looked_into_as_it_stood(atelier: Client, runs: dict[str, clearhead.Run]) -> None:
    steps = atelier.run("poem")["steps"]
    assert steps == runs["poem"].directory.steps()
    found = atelier.get(address("poem", "look", "next"), prompt="The ", step=steps[0])
    assert found["step"] == steps[0]
    assert found["numbers"] == as_json(runs["poem"].at(steps[0]).next("The ").to_dict())
    status, message, _ = atelier.refused("GET", address("poem", "look", "next") + "?step=99")
    assert status == 400
    assert message == f"run poem has no checkpoint of step 99; it has those of {', '.join(map(str, steps))}"


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("attention?layer=one", 400, "layer='one' cannot be read as a number"),
        ("attention?layre=1", 400, "unknown setting 'layre': did you mean 'layer'?"),
        ("attention?text=a&text=b", 400, "text is given 2 times; give it once"),
        ("atention", 404, "unknown view 'atention': did you mean 'attention'?"),
        ("report", 404, "unknown view 'report'"),
        ("embeddings?analogy=a&analogy=b", 400, "an analogy takes three tokens and 2 were given"),
        ("embeddings?also=nobody", 404, "there is no run 'nobody' here"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_line(atelier: Client, query: str, status: int, said: str) -> None:
    found, message, _ = atelier.refused("GET", f"{address('poem', 'look')}/{query}")
    assert found == status
    assert message.startswith(said)


@pytest.mark.parametrize(
    ("run", "view", "method", "asked", "settings"),
    [
        ("poem", "attention", "attention", "text=%F0%9F%98%80", {"text": "😀"}),
        ("poem", "attention", "attention", "text=The&layer=7&head=0", {"text": "The", "layer": 7, "head": 0}),
        ("verse", "attention", "attention", "text=The", {"text": "The"}),
        ("poem", "next", "next", "prompt=The&temperature=-1", {"prompt": "The", "temperature": -1.0}),
        ("poem", "bigram", "bigram", "current=t", {"current": "t"}),
    ],
)
def test_errors_are_those_of_the_command_line(
    atelier: Client, runs: dict[str, clearhead.Run], run: str, view: str, method: str, asked: str, settings: Any
) -> None:
    with pytest.raises(ClearheadError) as raised:
        getattr(runs[run], method)(**settings)
    status, message, code = atelier.refused("GET", f"{address(run, 'look', view)}?{asked}")
    assert (status, message, code) == (400, str(raised.value), type(raised.value).__name__)


@pytest.mark.parametrize("run", ["poem", "names", "verse"])
def test_the_ladder_is_that_of_the_python_interface(atelier: Client, runs: dict[str, clearhead.Run], run: str) -> None:
    found = atelier.get(address(run, "ladder"))
    expected = as_json(runs[run].ladder().to_dict())
    assert [rung["name"] for rung in found["ladder"]["rungs"]] == [rung["name"] for rung in expected["rungs"]]
    for rung, other in zip(found["ladder"]["rungs"], expected["rungs"], strict=True):
        assert rung["bits_per_char"] == pytest.approx(other["bits_per_char"], abs=1e-9)
    bars = found["figure"]["data"][0]
    assert len(bars["y"]) == len(expected["rungs"])


def test_a_text_is_scored_as_the_loss_view_scores_it(atelier: Client, runs: dict[str, clearhead.Run]) -> None:
    text = "and the rain came"
    found = atelier.post(address("poem", "score"), text=text)
    seen = runs["poem"].loss(text).view.text  # type: ignore[attr-defined]
    assert "".join(token["text"] for token in found["tokens"]) == text
    first, *rest = found["tokens"]
    assert (first["bits"], first["bigram_bits"], first["top"]) == (None, None, [])
    assert [token["bits"] for token in rest] == pytest.approx(seen.bits.tolist(), abs=1e-5)
    assert [token["bigram_bits"] for token in rest] == pytest.approx(seen.bigram.tolist(), abs=1e-5)
    for token in rest:
        shares = [p for _, p in token["top"]]
        assert shares == sorted(shares, reverse=True)
        assert len(shares) == 5
        if token["top"][0][0] == token["text"]:
            assert 2 ** -token["bits"] == pytest.approx(shares[0])


def test_where_documents_begin_with_end_of_text_every_token_is_scored(atelier: Client) -> None:
    found = atelier.post(address("names", "score"), text="anna")
    assert [token["text"] for token in found["tokens"]] == list("anna")
    assert all(token["bits"] is not None and token["bigram_bits"] is not None for token in found["tokens"])


def test_logits_are_those_that_the_next_token_is_drawn_from(atelier: Client, runs: dict[str, clearhead.Run]) -> None:
    found = atelier.post(address("poem", "logits"), text="The ", seed=7)
    view: Any = runs["poem"].next("The ", seed=7).view
    assert found["u"] == view.u
    assert (len(found["logits"]), found["context"]) == (len(found["tokens"]), 4)
    for candidate in view.candidates:
        assert found["logits"][candidate.id] == pytest.approx(candidate.logit, abs=1e-6)
    most = max(found["logits"])
    total = sum(math.exp(logit - most) for logit in found["logits"])
    for candidate in view.candidates:
        assert math.exp(found["logits"][candidate.id] - most) / total == pytest.approx(candidate.before, abs=1e-6)


def test_a_text_that_cannot_be_scored_is_refused(atelier: Client) -> None:
    assert atelier.refused("POST", address("poem", "score"), text="")[0] == 400
    assert "😀" in atelier.refused("POST", address("poem", "score"), text="😀")[1]
    assert "at most 8,192" in atelier.refused("POST", address("poem", "score"), text="a" * 8_193)[1]
    assert atelier.refused("POST", address("nobody", "score"), text="a")[2] == "no_run"
    assert atelier.refused("POST", address("poem", "score"), text=5)[1].startswith("text=5 has the wrong type")
    assert atelier.refused("POST", address("poem", "score"), txt="a")[1].startswith("unknown field 'txt'")
