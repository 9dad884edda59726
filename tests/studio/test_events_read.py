"""A file of events, read as it grows: nothing twice, nothing lost, never more than is drawn."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.studio.curves import POINTS, Curves, read_event, thinned
from clearhead.studio.replies import to_json
from clearhead.studio.standing import Standing
from clearhead.studio.tail import Tail
from clearhead.training.events import Certified, Evaluated, Event, Finished, Notice, Sampled, Started, Stepped
from clearhead.training.sinks import EventFile


def stepped(step: int, loss: float = 1.0, seconds: float = 0.0) -> Stepped:
    return Stepped(step, loss, 1e-3, 0.5, seconds)


STARTED = Started(0, "a", "gpt", 1000, 100, 64, 6400, 2.0, 2.0, "cpu", None, {"bigram": 2.5})


def written(path: Path, *events: Event) -> Path:
    file = EventFile(path)
    for event in events:
        file.handle(event)
    file.close()
    return path


@given(cuts=st.lists(st.integers(0, 200), max_size=8))
def test_whatever_has_been_written_when_it_is_read_every_line_comes_once(tmp_path_factory, cuts: list[int]) -> None:
    path = tmp_path_factory.mktemp("tail") / "events.jsonl"
    data = b"".join(b'{"step": %d}\n' % i for i in range(15))
    tail, lines = Tail(path), []
    for end in [*sorted(cuts), len(data)]:
        path.write_bytes(data[:end]) if not path.exists() else path.open("ab").write(data[path.stat().st_size : end])
        new, anew = tail.read()
        assert not anew
        lines += new
    assert lines == data.splitlines()
    assert tail.cursor == len(data)
    assert tail.read() == ([], False)


def test_a_file_that_is_written_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    path, tail = tmp_path / "events.jsonl", Tail(tmp_path / "events.jsonl")
    assert tail.read() == ([], False)
    path.write_bytes(b"1\n2\n3\n")
    assert tail.read() == ([b"1", b"2", b"3"], False)
    aside = tmp_path / "aside"
    aside.write_bytes(b"1\n2\n")
    aside.replace(path)
    assert tail.read() == ([b"1", b"2"], True)
    aside.write_bytes(b"1\n2\n3\n4\n5\n")  # longer than before, and another file all the same
    aside.replace(path)
    assert tail.read() == ([b"1", b"2", b"3", b"4", b"5"], True)


@pytest.mark.parametrize("cursor", [1, 3, 7, 1000])
def test_a_cursor_that_does_not_fit_reads_all(tmp_path: Path, cursor: int) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"one\ntwo\nthree\n")
    lines, anew = Tail(path, cursor).read()
    assert (lines, anew) == ([b"one", b"two", b"three"], True)


def test_a_cursor_goes_on_where_it_stood(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"one\ntwo\nthree\n")
    assert Tail(path, 4).read() == ([b"two", b"three"], False)


def test_curves_are_the_events(tmp_path: Path) -> None:
    path = written(
        tmp_path / "events.jsonl",
        STARTED,
        Notice(0, "look"),
        *(stepped(i, loss=3 - i / 100, seconds=i / 10) for i in range(1, 4)),
        Evaluated(3, 2.0, 2.1, None, True, ("bigram",), 0.3),
        Certified(3, 0.1, 0.05, 0.05, 2.0, 0.01),
        Sampled(3, "ab\u2028<b>"),
        Finished(3, "done", 0.4),
    )
    curves = Curves()
    curves.take(Tail(path).read()[0])
    found = curves.document()
    assert found["steps"] == [1, 2, 3]
    assert found["loss"] == [2.99, 2.98, 2.97]
    assert found["lr"] == [1e-3] * 3
    assert found["seconds"] == [0.1, 0.2, 0.3]
    assert (found["tokens_per_step"], found["characters_per_token"]) == (64, 2.0)
    assert found["rungs"] == {"bigram": 2.5}
    evaluation = {"step": 3, "train": 2.0, "val": 2.1, "dev": None, "best": True, "seconds": 0.3}
    assert found["evaluations"] == [evaluation]
    assert found["certificates"][0]["gap"] == 0.1
    assert found["samples"] == [{"step": 3, "text": "ab\u2028<b>"}]
    assert found["notices"] == [{"step": 0, "message": "look"}]
    assert json.loads(to_json(found)) == found


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", stepped(1, loss=math.nan), stepped(2, loss=math.inf))
    with path.open("a") as file:
        file.write('{"event": "stepped", "step": 3, "loss": NaN}\n')
    curves = Curves()
    curves.take(Tail(path).read()[0])
    assert json.loads(to_json(curves.document()))["loss"] == [None, None, None]


def test_never_more_than_4000_points(tmp_path: Path) -> None:
    lines = [b'{"event": "stepped", "step": %d, "loss": 1.0}' % i for i in range(1, 9_002)]
    curves = Curves()
    curves.take(lines)
    curves.take(b'{"event": "sampled", "step": %d, "text": "a"}' % i for i in range(1_000))
    found = curves.document()
    assert len(found["steps"]) == len(found["loss"]) == POINTS == 4_000
    assert (found["steps"][0], found["steps"][-1]) == (1, 9_001)
    assert found["steps"] == sorted(set(found["steps"]))
    assert len(found["samples"]) == 400


@given(st.integers(0, 50), st.integers(1, 20))
def test_thinning_keeps_the_ends_and_the_order(size: int, most: int) -> None:
    found = thinned(range(size), most)
    assert len(found) == min(size, most)
    assert found == sorted(set(found))
    if size:
        assert found[-1] == size - 1


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b'{"step": true}', b'{"step": "1"}', b"[" * 100_000])
def test_what_is_no_event_is_passed_over(line: bytes) -> None:
    assert read_event(line) == {}


def test_a_standing_is_the_same_however_its_events_come(tmp_path: Path) -> None:
    events = [STARTED, *(stepped(i, seconds=i / 4) for i in range(1, 41))]
    events.insert(11, Evaluated(10, 2.0, 2.2, 2.2, True, (), 2.5))
    events.insert(22, Evaluated(20, 1.5, 2.4, 2.4, False, (), 5.0))
    at_once = Standing(written(tmp_path / "whole.jsonl", *events))
    assert at_once.update()
    by_one = Standing(tmp_path / "growing.jsonl")
    file = EventFile(by_one.path)
    for event in events:
        file.handle(event)
        assert by_one.update()
    for standing in (at_once, by_one):
        assert (standing.step, standing.val, standing.best_val, standing.end) == (40, 2.4, 2.2, None)
        assert standing.pace == pytest.approx(4.0)
        assert not standing.update()
    file.handle(Finished(40, "interrupted", 10.0))
    assert by_one.update()
    assert by_one.end is not None
    assert by_one.end["reason"] == "interrupted"


def test_a_standing_forgets_what_a_resume_takes_back(tmp_path: Path) -> None:
    standing = Standing(written(tmp_path / "events.jsonl", STARTED, stepped(50), Finished(50, "interrupted", 1.0)))
    standing.update()
    kept = written(tmp_path / "aside", STARTED, stepped(20))
    kept.replace(standing.path)
    standing.update()
    assert (standing.step, standing.end) == (20, None)
    assert standing.started["max_iters"] == 100
