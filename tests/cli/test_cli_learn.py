"""`clearhead learn`: the list, a lesson that asks, a lesson that does not, and what can be typed wrong."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from clearhead.cli.main import main
from clearhead.lessons.catalogue import lessons
from clearhead.lessons.progress import progress_file


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def document(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert main(["learn", *argv]) == 0
    return json.loads(capsys.readouterr().out)


def types(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_list_is_the_course(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn"]) == 0
    out = capsys.readouterr().out
    for lesson in lessons().values():
        assert f"[ ] {lesson.number:>2}  {lesson.slug}" in out
        assert lesson.question in out
    assert f"0 of {len(lessons())} done. Next: clearhead learn characters" in out


def test_a_prediction_is_asked_for_and_kept(
    poem: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    types(monkeypatch, "lots\n29\n")
    assert main(["learn", "1", "--corpus", str(poem)]) == 0
    out = capsys.readouterr().out
    assert "'lots' is no number; give one, or Enter to go on without" in out
    characters = len(set(poem.read_text(encoding="utf-8")))
    assert f"You said 29. Measured: {characters}" in out
    assert out.index("your prediction") < out.index("$ clearhead look") < out.index("What follows")
    assert main(["learn"]) == 0
    out = capsys.readouterr().out
    assert "[x]  1  characters" in out
    assert "on poem.txt, 2" in out
    assert f"you said 29, measured {characters}" in out
    assert "Next: clearhead learn bigram-table" in out


@pytest.mark.parametrize("typed", ["\n", ""])
def test_enter_and_the_end_of_input_predict_nothing(
    typed: str, poem: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    types(monkeypatch, typed)
    assert main(["learn", "characters", "--corpus", str(poem)]) == 0
    assert "You said" not in capsys.readouterr().out
    assert main(["learn"]) == 0
    assert "nothing was predicted" in capsys.readouterr().out


def test_no_ask_reads_nothing(poem: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert main(["learn", "1", "--no-ask", "--corpus", str(poem)]) == 0
    out = capsys.readouterr().out
    assert "your prediction" not in out
    assert "How many different characters does your text use?" in out
    assert "next: clearhead learn bigram-table" in out


def test_json_is_one_document(poem: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "1", "--json", "--corpus", str(poem))
    assert (found["number"], found["slug"], found["next"]) == (1, "characters", "bigram-table")
    assert found["corpus"] == "poem.txt"
    assert [part["part"] for part in found["parts"]][:3] == ["say", "ask", "ran"]
    assert found["parts"][-1]["part"] == "code"
    (outcome,) = found["outcomes"]
    assert outcome["predicted"] is None
    assert outcome["measured"] == len(set(poem.read_text(encoding="utf-8")))
    assert {claim["name"] for claim in found["verdict"]} == {"round trip", "shift", "names"}
    listed = document(capsys, "--json")["lessons"]
    assert [one["number"] for one in listed] == [lesson.number for lesson in lessons().values()]
    assert listed[0]["done"]["corpus"] == "poem.txt"
    assert listed[1]["done"] is None


def test_a_lesson_on_the_built_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "characters", "--json", "--corpus", "python-docs")
    assert found["corpus"].startswith("python-docs")
    assert all(claim["holds"] for claim in found["verdict"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["bigram-tabel"], "unknown lesson 'bigram-tabel': did you mean 'bigram-table'?"),
        (["99"], "there is no lesson 99; choose one of 1, 2"),
        (["1", "--corpus", "nowhere.txt"], "'nowhere.txt' does not exist"),
        (["1", "--corpus", "tiny.txt"], "tiny.txt has 5 characters, and lesson 1 (characters) needs 100"),
        (["1", "--corpus", "same.txt"], "same.txt has a vocabulary of 1, and a lesson needs 3"),
        (["1", "--corpus", "-"], "a lesson reads its text several times; write it into a file"),
        (["1", "--asks"], "unknown argument '--asks'"),
    ],
)
def test_what_is_wrong_is_one_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny.txt").write_text("hello", encoding="utf-8")
    Path("same.txt").write_text("a" * 1_000, encoding="utf-8")
    assert main(["learn", *argv]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert not progress_file().exists(), "a lesson that was not told is not done"


def test_broken_progress_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress_file().parent.mkdir(parents=True)
    progress_file().write_text("{", encoding="utf-8")
    assert main(["learn"]) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("note: what you had done could not be read; it is set aside as")
    assert shown.err.count("\n") == 1
    assert "[ ]  1" in shown.out
