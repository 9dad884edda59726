"""Training from the page: begun, watched, paused, gone on with, renamed, deleted; refused in the command's words."""

import signal
from pathlib import Path
from typing import Any

import pytest

from clearhead.runs.directory import RunDirectory
from clearhead.runs.lock import RunLock, holder_of
from studio.opened import Client, address, opened, started

ENDLESS: dict[str, Any] = {
    "n_layer": 1,
    "n_embd": 16,
    "n_head": 2,
    "block_size": 16,
    "batch_size": 4,
    "max_iters": 100_000,
    "eval_interval": 200,
    "eval_iters": 1,
    "save_interval": 200,
}
"""A run that goes on until it is stopped."""


def begin(client: Client, poem: Path, **asked: Any) -> Any:
    text = client.post("/api/texts/path", path=str(poem))["id"]
    return client.post("/api/runs", text=text, **asked)


def test_a_run_outlives_the_server_and_does_what_it_is_told(tmp_path: Path, poem: Path) -> None:
    """The whole life of a run, through two kills of the server."""
    out = tmp_path / "runs"
    with started(out) as first:
        row = begin(first.client, poem, name="mine", settings=ENDLESS)
        assert (row["name"], row["state"], row["corpus"], row["model"]) == ("mine", "starting", "poem.txt", "gpt")
        row = first.client.wait("mine", lambda row: row["state"] == "training" and row["rate"])
        assert row["memory"] is None or row["memory"] > 50 << 20
        assert row["left"] > 0
        assert (row["layers"], row["heads"], row["block_size"], row["tokenizer"]) == (1, 2, 16, "char")
        trainer = holder_of(RunDirectory(out / "mine").lock_file)
        assert first.end(signal.SIGKILL) == -signal.SIGKILL

    with started(out) as second:
        client = second.client
        row = client.run("mine")
        assert row["state"] == "training", "a killed server leaves what trains alone"
        assert holder_of(RunDirectory(out / "mine").lock_file) == trainer
        assert client.refused("POST", address("mine", "delete"), confirm="mine")[2] == "training"
        assert client.refused("POST", address("mine", "rename"), name="other")[2] == "training"
        assert client.refused("POST", address("mine", "resume"))[2] == "training"
        client.wait("mine", lambda row: row["steps"])
        client.post(address("mine", "pause"))
        row = client.wait("mine", lambda row: row["state"] == "paused")
        assert row["step"] in row["steps"], "what was made is saved"
        assert client.refused("POST", address("mine", "pause"))[2] == "not_training"
        curves = client.get(address("mine", "curves"))
        assert curves["steps"] == sorted(set(curves["steps"]))
        assert curves["steps"][-1] <= row["step"]
        second.end(signal.SIGTERM)

    with started(out) as third:
        client, paused = third.client, row["step"]
        client.post(address("mine", "resume"), max_iters=paused + 150)
        row = client.wait("mine", lambda row: row["state"] == "done")
        assert (row["step"], row["max_iters"]) == (paused + 150, paused + 150)
        sealed = client.wait("mine", lambda row: row["bytes"] == RunDirectory(out / "mine").size())
        assert sealed["created"] == row["created"]
        after = client.get(address("mine", "curves"))["steps"]
        assert after == sorted(set(after)), "no step twice, whoever was killed"
        client.post(address("mine", "rename"), name="renamed")
        assert [one["name"] for one in client.get("/api/runs")["runs"]] == ["renamed"]
        assert client.run("renamed")["state"] == "done"
        assert client.refused("POST", address("renamed", "delete"), confirm="mine")[0] == 400
        client.post(address("renamed", "delete"), confirm="renamed")
        assert client.get("/api/runs")["runs"] == []
        assert sorted(path.name for path in out.iterdir()) == [".studio"]


def test_what_is_stopped_is_not_called_paused(tmp_path: Path, poem: Path) -> None:
    with opened(tmp_path / "runs") as client:
        begin(client, poem, name="a", settings=ENDLESS)
        client.wait("a", lambda row: row["state"] == "training" and row["step"])
        client.post(address("a", "stop"))
        assert client.wait("a", lambda row: row["state"] != "training")["state"] == "stopped"
        begin(client, poem, name="b", settings=ENDLESS)
        client.post(address("b", "pause"))  # before there is anything to save: nothing is left of it
        client.wait("a", lambda row: len(client.get("/api/runs")["runs"]) == 1)
        assert not (tmp_path / "runs" / "b").exists()
    with opened(tmp_path / "runs") as client:
        assert client.run("a")["state"] == "stopped"
        client.post(address("a", "resume"), max_iters=client.run("a")["step"] + 20)
        assert client.wait("a", lambda row: row["state"] not in ("starting", "training"))["state"] == "done"


def test_a_training_that_fails_before_it_has_a_run_says_why(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("ab", encoding="utf-8")
    with opened(tmp_path / "runs") as client:
        begin(client, tmp_path / "short.txt", name="short", settings={"max_iters": 5, "model": "mixture"})
        row = client.wait("short", lambda row: row["state"] == "failed")
        assert row["problem"].startswith("model=mixture is fitted on dev")
        assert client.get(address("short", "curves"))["steps"] == []
        assert client.refused("GET", address("short", "ladder"))[2] == "not_ready"
        client.post(address("short", "delete"), confirm="short")
        assert client.get("/api/runs")["runs"] == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"settings": {"n_layre": 2}}, "unknown setting 'n_layre': did you mean 'n_layer'?"),
        ({"settings": {"n_layer": "two"}}, "architecture.n_layer='two' has the wrong type; it wants int"),
        ({"settings": {"n_embd": 10, "n_head": 4}}, "n_embd=10 is not divisible by n_head=4; try 8 or 12"),
        ({"preset": "moderm"}, "unknown preset 'moderm': did you mean 'modern'?"),
        ({"model": "gtp"}, "unknown model 'gtp': did you mean 'gpt'?"),
        ({"time": 2}, "time='2s' leaves no time to train; give at least 5 seconds"),
        ({"time": 60, "model": "bigram"}, "time=60s plans a GPT, and --model bigram is none; leave one of them out"),
        ({"name": "a/b"}, "name='a/b' is no plain folder name; try 'a-b'"),
        ({"name": "poem"}, "there is a run poem already; choose another name"),
        ({"text": "named-nothing"}, "there is no text 'named-nothing'; drop a file, or give its path"),
        ({"time": "long"}, "time='long' has the wrong type; it wants float"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(atelier: Client, asked: dict[str, Any], said: str) -> None:
    before = atelier.get("/api/runs")
    status, message, _ = atelier.refused("POST", "/api/runs", **{"text": "named-grammar", **asked})
    assert status in (400, 404)
    assert message.startswith(said)
    assert atelier.get("/api/runs") == before


def test_rows_say_what_runs_are(atelier: Client) -> None:
    rows = {row["name"]: row for row in atelier.get("/api/runs")["runs"]}
    assert set(rows) == {"poem", "verse", "names"}
    assert {row["state"] for row in rows.values()} == {"done"}
    poem = rows["poem"]
    assert (poem["step"], poem["max_iters"], poem["layers"], poem["heads"]) == (30, 30, 2, 2)
    assert poem["bits"] == pytest.approx(poem["val"] / 0.6931471805599453)
    assert poem["bytes"] > 10_000
    assert (rows["verse"]["model"], rows["verse"]["tokenizer"], rows["verse"]["layers"]) == ("ngram", "byte", None)


def test_a_broken_run_is_a_row_with_what_is_wrong(tmp_path: Path, atelier_runs: Path) -> None:
    import shutil

    shutil.copytree(atelier_runs / "poem", tmp_path / "poem")
    (tmp_path / "poem" / "config.toml").write_text("broken =", encoding="utf-8")
    with opened(tmp_path) as client:
        row = client.run("poem")
        assert row["state"] == "failed"
        assert row["problem"].startswith("broken: ")
        client.post(address("poem", "delete"), confirm="poem")


def test_a_run_that_another_trains_is_seen_and_left_alone(tmp_path: Path, atelier_runs: Path) -> None:
    import shutil

    shutil.copytree(atelier_runs / "poem", tmp_path / "poem")
    events = tmp_path / "poem" / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(line for line in lines if b'"finished"' not in line))
    with opened(tmp_path) as client:
        assert client.run("poem")["state"] == "stopped"
        lock = RunLock(tmp_path / "poem" / ".lock")
        assert client.run("poem")["state"] == "training"
        assert client.refused("POST", address("poem", "delete"), confirm="poem")[2] == "training"
        lock.release()
        assert client.run("poem")["state"] == "stopped"


def test_who_asks_for_a_lock_does_not_keep_a_trainer_out(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    first = RunLock(path)
    assert holder_of(path) is not None
    first.release()
    assert holder_of(path) is None
    RunLock(path).release()
    assert holder_of(tmp_path / "none") is None


def test_curves_are_compared(atelier: Client) -> None:
    found = atelier.get("/api/compare", runs="poem,names")["runs"]
    assert list(found) == ["poem", "names"]
    assert found["poem"] == atelier.get(address("poem", "curves"))
    assert len(found["poem"]["steps"]) == 30
    assert len(atelier.get(address("poem", "curves"), points=5)["steps"]) == 5
    for query in ("runs=", "runs=nobody", f"runs={','.join('abcdefghi')}", "runs=poem&points=1"):
        assert atelier.refused("GET", f"/api/compare?{query}")[0] in (400, 404)
    assert atelier.refused("GET", address("poem", "curves") + "?points=4001")[0] == 400


def test_a_text_that_a_run_needs_is_not_deleted(tmp_path: Path, poem: Path) -> None:
    with opened(tmp_path / "runs") as client:
        done, upload = client.upload("poem.txt", poem.read_bytes())
        assert done.status == 200
        row = client.post("/api/runs", text=upload, model="ngram", name="counted")
        client.wait("counted", lambda row: row["state"] == "done")
        assert row["model"] == "ngram"
        status, message, code = client.refused("POST", f"/api/texts/{upload}/delete")
        assert (status, code) == (409, "in_use")
        assert message.startswith("poem.txt is the text of counted")
        client.post(address("counted", "delete"), confirm="counted")
        client.post(f"/api/texts/{upload}/delete")
