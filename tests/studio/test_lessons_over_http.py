"""Lessons: told part by part in a process of their own, waiting for answers."""

import time
from pathlib import Path
from typing import Any

import pytest

from clearhead.lessons.catalogue import lessons
from studio.opened import PATIENCE, Client, opened


def hear(client: Client, number: int, cursor: int, until: str) -> tuple[list[Any], int]:
    """The parts from a cursor on, up to one of a kind or the end."""
    parts, end = [], time.monotonic() + PATIENCE
    while not any(part["kind"] == until for part in parts):
        found = client.get(f"/api/lessons/{number}/parts", cursor=cursor)
        parts, cursor = parts + found["parts"], found["cursor"]
        assert not (found["done"] and until != "end"), found
        assert time.monotonic() < end, parts
        time.sleep(0.05)
    return parts, cursor


def test_the_course_is_listed(atelier: Client) -> None:
    listed = atelier.get("/api/lessons")["lessons"]
    assert [one["slug"] for one in listed] == list(lessons())
    assert all(set(one) == {"number", "slug", "title", "question", "views", "done"} for one in listed)
    assert atelier.get("/api/lessons/7")["views"] == ["attention"]
    assert atelier.refused("GET", "/api/lessons/99")[1].startswith("there is no lesson 99; choose one of 1, 2")


def test_views_of_lessons_are_views() -> None:
    from clearhead.studio.looks import LOOKS

    assert {view for lesson in lessons().values() for view in lesson.views} <= set(LOOKS)
    for lesson in lessons().values():
        source = Path(__import__(lesson.teach.__module__, fromlist=["x"]).__file__).read_text(encoding="utf-8")
        looked = {view for view in LOOKS if f'desk.inspect(run, "{view}"' in source}
        assert looked <= set(lesson.views), lesson.slug


def test_a_lesson_waits_for_an_answer_and_says_what_was_measured(tmp_path: Path, poem: Path) -> None:
    with opened(tmp_path / "runs") as client:
        text = client.post("/api/texts/path", path=str(poem))["id"]
        client.post("/api/lessons/1/start", text=text)
        parts, cursor = hear(client, 1, 0, "question")
        assert parts[0]["kind"] == "words"
        assert client.get("/api/lessons/1")["telling"]
        assert client.get("/api/lessons/1/parts", cursor=cursor)["parts"] == []
        assert client.refused("POST", "/api/lessons/1/start", text=text)[2] == "being_told"
        status, message, _ = client.refused("POST", "/api/lessons/1/answer", answer="perhaps")
        assert status == 400
        assert message.startswith("'perhaps' is no")
        given = parts[-1]["choices"][0][0] if parts[-1]["choices"] else 5
        client.post("/api/lessons/1/answer", answer=given)
        assert client.refused("POST", "/api/lessons/1/answer", answer=given)[2] == "nothing_asked"
        more, _ = hear(client, 1, cursor, "end")
        (answer,) = [part for part in more if part["kind"] == "answer"]
        assert answer["predicted"] == given
        assert answer["said"].startswith("You said")
        assert more[-1]["next"] == 2
        done = client.get("/api/lessons")["lessons"][0]["done"]
        assert done["corpus"] == "poem.txt"


def test_a_lesson_that_cannot_be_told_says_why(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("too short", encoding="utf-8")
    with opened(tmp_path / "runs") as client:
        text = client.post("/api/texts/path", path=str(tmp_path / "short.txt"))["id"]
        client.post("/api/lessons/1/start", text=text)
        end = time.monotonic() + PATIENCE
        while not (found := client.get("/api/lessons/1/parts"))["problem"]:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert found["problem"].startswith("short.txt has 9 characters, and lesson 1")


def test_a_lesson_can_be_stopped_and_begun_again(tmp_path: Path, poem: Path) -> None:
    with opened(tmp_path / "runs") as client:
        text = client.post("/api/texts/path", path=str(poem))["id"]
        client.post("/api/lessons/1/start", text=text)
        hear(client, 1, 0, "question")
        client.post("/api/lessons/1/stop")
        end = time.monotonic() + PATIENCE
        while not client.get("/api/lessons/1/parts")["done"]:
            assert time.monotonic() < end
            time.sleep(0.1)
        client.post("/api/lessons/1/start", text=text)
        hear(client, 1, 0, "question")
        client.post("/api/lessons/1/stop")


@pytest.mark.parametrize("path", ["/api/lessons/1/answer", "/api/lessons/16/answer"])
def test_nothing_is_answered_that_was_not_asked(tmp_path: Path, path: str) -> None:
    with opened(tmp_path) as client:
        assert client.refused("POST", path, answer="a")[2] == "nothing_asked"
