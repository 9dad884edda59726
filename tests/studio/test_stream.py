"""What a tab hears: what is new and nothing else, ten messages a second at most, and it never holds up the end."""

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from studio.opened import Client, address, events, opened


@pytest.fixture
def growing(tmp_path: Path, atelier_runs: Path) -> Path:
    """A folder of one run whose training seems to go on."""
    shutil.copytree(atelier_runs / "poem", tmp_path / "runs" / "poem")
    return tmp_path / "runs"


def step(number: int, **more: Any) -> str:
    event = {"event": "stepped", "step": number, "loss": 1.0, "learning_rate": 0.1, "grad_norm": 1.0, "seconds": 1.0}
    return json.dumps(event | more) + "\n"


def test_a_stream_tells_rows_then_only_what_is_new(growing: Path) -> None:
    file = growing / "poem" / "events.jsonl"
    with opened(growing) as client:
        known = client.get(address("poem", "curves"))
        with client.listening(run="poem", cursor=known["cursor"]) as response:
            assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
            heard = events(response)
            name, document = next(heard)
            assert name == "runs"
            assert document == client.get("/api/runs")
            with file.open("a") as target:
                target.write(step(31, loss=float("nan")) + step(32)[:20])
            name, document = next((name, found) for name, found in heard if name == "curves")
            assert (document["steps"], document["loss"], document["anew"]) == ([31], [None], False)
            with file.open("a") as target:
                target.write(step(32)[20:])
            name, document = next((name, found) for name, found in heard if name == "curves")
            assert document["steps"] == [32]
            assert document["cursor"] == file.stat().st_size
        again = client.get(address("poem", "curves"))
        assert again["steps"] == [*known["steps"], 31, 32]
        assert again["cursor"] == document["cursor"]


def test_a_stream_from_the_beginning_tells_all(growing: Path) -> None:
    with opened(growing) as client, client.listening(run="poem") as response:
        _, document = next((name, found) for name, found in events(response) if name == "curves")
        known = client.get(address("poem", "curves"))
        assert document == {**known, "anew": False}


def test_events_that_are_written_anew_are_told_anew(growing: Path) -> None:
    file = growing / "poem" / "events.jsonl"
    with opened(growing) as client:
        cursor = client.get(address("poem", "curves"))["cursor"]
        with client.listening(run="poem", cursor=cursor) as response:
            heard = events(response)
            assert next(heard)[0] == "runs"
            aside = growing / "aside"
            lines = file.read_bytes().splitlines(keepends=True)
            aside.write_bytes(b"".join(line for line in lines if json.loads(line)["step"] <= 10))
            aside.replace(file)
            _, document = next((name, found) for name, found in heard if name == "curves")
            assert document["anew"]
            assert document["steps"] == list(range(1, 11))


def test_no_more_than_ten_messages_a_second(growing: Path) -> None:
    file, ended = growing / "poem" / "events.jsonl", threading.Event()

    def write() -> None:
        number = 30
        with file.open("a") as target:
            while not ended.wait(0.002):
                number += 1
                target.write(step(number))
                target.flush()

    writer = threading.Thread(target=write)
    with opened(growing) as client, client.listening(run="poem") as response:
        writer.start()
        try:
            begun, steps, messages = time.monotonic(), [], 0
            for name, document in events(response):
                messages += 1
                steps += document["steps"] if name == "curves" else []
                if time.monotonic() - begun > 1.5:
                    break
            seconds = time.monotonic() - begun
        finally:
            ended.set()
            writer.join()
    assert messages <= 10 * seconds + 2
    assert steps == list(range(1, len(steps) + 1)), "thinned in time, complete in steps"
    assert len(steps) > 30


def test_rows_are_told_when_they_change(growing: Path) -> None:
    with opened(growing) as client, client.listening() as response:
        heard = events(response)
        assert [row["name"] for row in next(heard)[1]["runs"]] == ["poem"]
        client.post(address("poem", "rename"), name="other")
        name, document = next(heard)
        assert (name, [row["name"] for row in document["runs"]]) == ("runs", ["other"])


def test_open_streams_do_not_hold_up_the_end(growing: Path) -> None:
    with opened(growing) as client:
        streams = [client.listening(run="poem") for _ in range(3)]
        responses = [stream.__enter__() for stream in streams]
        for response in responses:
            assert next(events(response))[0] == "runs"
    # the studio has ended, else `opened` would complain; so have the streams, in order
    for stream, response in zip(streams, responses, strict=True):
        assert b"event: " in response.read() + b"event: "
        stream.__exit__(None, None, None)


def test_a_run_that_is_about_to_begin_is_heard_from_its_first_event(growing: Path) -> None:
    other = growing / "other"
    (growing / ".studio" / "jobs").mkdir(parents=True)
    record = {"name": "other", "words": ["train"], "model": "gpt"}
    (growing / ".studio" / "jobs" / "other.json").write_text(json.dumps(record))
    with opened(growing) as client, client.listening(run="other") as response:
        assert client.get(address("other", "curves"))["cursor"] == 0
        heard = events(response)
        assert [row["name"] for row in next(heard)[1]["runs"]] == ["poem", "other"]
        shutil.copytree(growing / "poem", other)
        _, document = next((name, found) for name, found in heard if name == "curves")
        assert document["steps"][0] == 1


def test_a_stream_of_nothing_is_refused(atelier: Client) -> None:
    assert atelier.refused("GET", "/api/stream?run=nobody")[2] == "no_run"
    assert atelier.refused("GET", "/api/stream?run=poem&cursor=x")[0] == 400
