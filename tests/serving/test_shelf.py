"""Runs in memory: read on first use, within a limit, the least recently used idle one leaves."""

import asyncio
import shutil
from pathlib import Path

import pytest

import clearhead
from clearhead.config import ServeConfig
from clearhead.errors import ConfigError
from clearhead.runs.directory import RunDirectory
from clearhead.serving.errors import ApiError
from clearhead.serving.shelf import Shelf, footprint
from serving.live import Live, serving

NAMES = ("poem", "names", "verse")


@pytest.fixture
def runs(served_runs: Path) -> list[RunDirectory]:
    return [RunDirectory(served_runs / name) for name in NAMES]


def shelf_for(runs: list[RunDirectory], monkeypatch: pytest.MonkeyPatch, room: int) -> Shelf:
    monkeypatch.setattr("clearhead.serving.shelf.free_memory", lambda: 2 * room)
    return Shelf(runs, ServeConfig(slots=2))


def loaded(shelf: Shelf) -> set[str]:
    return {name for name, place in shelf.places.items() if place.loaded is not None}


def test_read_once_on_first_use(runs, monkeypatch):
    async def use() -> None:
        shelf = shelf_for(runs, monkeypatch, 1 << 30)
        assert loaded(shelf) == set()
        first, second = await asyncio.gather(shelf.take("poem"), shelf.take("poem"))
        assert first is second
        assert (first.users, loaded(shelf)) == (2, {"poem"})

    asyncio.run(use())


def test_the_least_recently_used_leaves_and_one_in_use_stays(runs, monkeypatch, tmp_path):
    for name in "abc":
        shutil.copytree(runs[0].path, tmp_path / name)
    alike = [RunDirectory(tmp_path / name) for name in "abc"]

    async def use() -> None:
        shelf = shelf_for(alike, monkeypatch, 2 * footprint(alike[0], 2))
        for name in "aba":
            shelf.release(await shelf.take(name))
        shelf.release(await shelf.take("c"))
        assert loaded(shelf) == {"a", "c"}, "b was unused for longest"
        first, second = await shelf.take("a"), await shelf.take("c")
        with pytest.raises(ApiError) as refused:
            await shelf.take("b")
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        assert loaded(shelf) == {"a", "c"}, "both are in use"
        shelf.release(first)
        shelf.release(await shelf.take("b"))
        assert loaded(shelf) == {"b", "c"}
        assert shelf.taken == shelf.room
        shelf.release(second)

    asyncio.run(use())


def test_a_run_that_never_fits_and_two_of_one_name_are_refused_at_the_start(runs, monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="max_memory"):
        shelf_for(runs, monkeypatch, 10_000)
    shutil.copytree(runs[0].path, tmp_path / "poem")
    with pytest.raises(ConfigError, match="two runs are called poem"):
        shelf_for([runs[0], RunDirectory(tmp_path / "poem")], monkeypatch, 1 << 30)


def test_rounded_weights_where_there_are_matrices(runs):
    async def use() -> None:
        shelf = Shelf(runs, ServeConfig(slots=2, weights="int8"))
        gpt, counts = await shelf.take("poem"), await shelf.take("verse")
        prompt = {"prompt": "The", "max_new_tokens": 8, "temperature": 0, "logprobs": 0}
        served, own = (run.draw(**prompt) for run in (gpt.run, clearhead.load(runs[0].path).with_weights("int8")))
        assert served == own
        assert served != clearhead.load(runs[0].path).draw(**prompt)
        assert counts.run.draw("The", max_new_tokens=3)

    asyncio.run(use())


@pytest.mark.filterwarnings("ignore::clearhead.errors.DamageWarning")
def test_a_broken_run_is_said_to_be_and_the_others_answer(served_runs: Path, tmp_path: Path, caplog):
    shutil.copytree(served_runs / "poem", tmp_path / "broken")
    for file in (tmp_path / "broken" / "checkpoints").rglob("model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    with serving([served_runs / "poem", tmp_path / "broken"]) as live:
        answer = live.complete(model="broken")
        assert (answer.status, answer.code) == (422, "model_broken")
        assert str(tmp_path) not in answer.body.decode()
        assert str(tmp_path) in caplog.text
        assert live.complete().status == 200
        assert live.complete(model="broken").status == 422


def test_tokens_and_scores(live: Live):
    tokens = live.ask("POST", "/v1/tokenize", {"model": "verse", "text": "ö!"}).json
    assert tokens == {
        "model": "verse",
        "ids": [195, 182, 33],
        "tokens": [r"bytes:\xc3", r"bytes:\xb6", "!"],
        "count": 3,
    }
    score = live.ask("POST", "/v1/score", {"model": "poem", "text": "The wind", "top": 2}).json
    echo = live.complete(prompt="The wind", echo=True, max_tokens=0, logprobs=2).json["choices"][0]["logprobs"]
    assert (score["tokens"], score["logprobs"]) == (echo["tokens"], echo["token_logprobs"])
    assert score["top_logprobs"][1:] == echo["top_logprobs"][1:]
    known = score["logprobs"][1:]
    assert score["nats_per_token"] == pytest.approx(-sum(known) / 7)
    assert score["bits_per_char"] == pytest.approx(-sum(known) / 7 / 0.6931471805599453)
    names = live.ask("POST", "/v1/score", {"model": "names", "text": "anna"}).json
    assert names["tokens"] == list("anna")
    assert names["logprobs"][0] < 0, "a document's first letter follows end-of-text"
    assert live.ask("POST", "/v1/score", {"model": "poem", "ids": score["ids"]}).json["logprobs"] == score["logprobs"]
    assert live.ask("POST", "/v1/score", {"model": "poem"}).status == 400
