"""`clearhead runs` and its actions, as scripts and people meet them."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from clearhead.cli.main import main
from conftest import POEM

TINY = ["--n_embd", 16, "--n_head", 2, "--n_layer", 1, "--block_size", 16, "--batch_size", 4, "--eval_iters", 2]
TINY += ["--device", "cpu", "--max_iters", 10, "--eval_interval", 5]


@pytest.fixture
def clearhead(capsys, tmp_path, monkeypatch):
    """Run a command; returns (exit code, lines of standard output, lines of standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: object) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        try:
            code = main([str(word) for word in argv])
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A finished run, trained once."""
    home = tmp_path_factory.mktemp("trained")
    (home / "poem.txt").write_text(POEM * 29, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        words = ["train", home / "poem.txt", "--out", home / "runs", *TINY]
        assert main([str(word) for word in words]) == 0
    return home / "runs" / "poem-gpt"


@pytest.fixture
def run(clearhead, trained, tmp_path) -> Path:
    """The folder of a finished run, to be damaged."""
    shutil.copytree(trained, tmp_path / "runs" / trained.name)
    return Path("runs") / trained.name


def test_help_names_the_actions(clearhead):
    code, said, _ = clearhead("runs", "--help")
    assert code == 0
    assert all(f"clearhead runs {action}" in " ".join(said) for action in ("verify", "export", "import"))


@pytest.mark.parametrize("action", ["verify", "export", "import"])
def test_every_action_has_help(clearhead, action):
    code, said, _ = clearhead("runs", action, "--help")
    assert code == 0
    assert said[0].startswith(f"usage: clearhead runs {action}")
    assert "--json" in " ".join(said)


def test_an_unknown_action_is_answered_with_the_nearest(clearhead):
    code, said, told = clearhead("runs", "verfy")
    assert (code, said) == (2, [])
    assert told == [
        "clearhead: unknown action 'verfy': did you mean 'verify'? (export, import, verify); "
        "without one, runs lists them"
    ]
    assert "unknown argument" in clearhead("runs", "verify", "--fast")[2][0]


def test_listing_is_as_before(clearhead, run):
    code, said, _ = clearhead("runs")
    assert code == 0
    assert "poem-gpt" in said[1]
    assert [row["run"] for row in json.loads("\n".join(clearhead("runs", "--json")[1]))["runs"]] == [str(run)]


def test_brackets_in_a_name_are_shown_as_they_are(clearhead, run):
    run.rename(run.with_name("[red]loud[link=x]"))
    assert "[red]loud[link=x]" in clearhead("runs")[1][1]


NASTY = [
    b"",
    b"\xff\xfe",
    b"[1]\n",
    b"{}\n",
    b'{"event": "evaluated"}\n',
    b'{"name": [1]}',
    b"model = 7",
    b"[" * 99_999,
]
NASTY += [b'{"event": "evaluated", "best": true, "val": "low"}\n', b'{"event": "evaluated", "best": true, "val": {}}\n']


@pytest.mark.parametrize("file", ["events.jsonl", "corpus.json", "config.toml", "manifest.json", "latest", "best"])
def test_listing_survives_whatever_lies_in_a_run(clearhead, run, file):
    for content in NASTY:
        (run / file).write_bytes(content)
        code, said, told = clearhead("runs")
        assert (code, told) == (0, []), content
        assert "poem-gpt" in "".join(said)


def test_verify_says_ok(clearhead, run):
    code, said, told = clearhead("runs", "verify")
    assert (code, told) == (0, [])
    assert said[0].startswith(f"{run}: ok, ")
    assert len(said) == 1
    assert clearhead("runs", "verify", run.name)[1] == clearhead("runs", "verify", run)[1] == said


def test_verify_says_what_is_wrong_in_a_line_per_run(clearhead, run):
    shutil.copytree(run, broken := run.parent / "broken")
    (broken / "events.jsonl").write_bytes(b"\0")
    (broken / "best").unlink()
    code, said, told = clearhead("runs", "verify")
    assert code == 1
    assert [line.split(":")[0] for line in said] == [str(broken), str(run)]
    assert "best is missing; events.jsonl has changed: its SHA-256 is not the manifest's" in said[0]
    assert ": ok, " in said[1]
    assert len(told) == 1
    assert told[0].startswith("1 of 2 not whole: restore")
    assert clearhead("runs", "verify", run)[0] == 0


def test_verify_as_json(clearhead, run):
    code, said, _ = clearhead("runs", "verify", "--json")
    document = json.loads("\n".join(said))
    assert (code, document["ok"]) == (0, True)
    (run / "latest").write_text("step-7\n")
    code, said, told = clearhead("runs", "verify", "--json")
    document = json.loads("\n".join(said))
    assert (code, document["ok"], told) == (1, False, [])
    (row,) = document["runs"]
    assert (row["run"], row["ok"], row["sealed"], row["faults"][0]["file"]) == (str(run), False, True, "latest")


@pytest.mark.parametrize("file", ["config.toml", "manifest.json", "tokenizer.json"])
def test_a_run_that_lacks_what_makes_it_one_is_still_found(clearhead, run, file):
    (run / file).unlink()
    for words in ((), (run,), (run.name,)):
        code, said, _ = clearhead("runs", "verify", *words)
        assert code == 1
        assert f"{file} is missing" in said[0]


def test_verify_without_runs(clearhead, tmp_path):
    assert clearhead("runs", "verify") == (0, ["no run in runs yet; make one with: clearhead train"], [])
    (tmp_path / "folder").mkdir()
    for word in ("nothing", "folder"):
        code, said, told = clearhead("runs", "verify", word)
        assert (code, said, len(told)) == (2, [], 1)


def test_a_long_verification_shows_a_bar_on_a_terminal(clearhead, run, monkeypatch, capsys):
    monkeypatch.setattr("clearhead.cli.runs.verify.WORTH_A_BAR", 1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, said, _ = clearhead("runs", "verify")
    assert code == 0
    assert said[0].startswith(f"{run}: ok, ")


def test_export_and_import(clearhead, run, tmp_path, monkeypatch):
    code, said, _ = clearhead("runs", "export")
    assert (code, said[-1]) == (0, "poem-gpt.clearhead.zip")
    written = clearhead("generate", run, "--max_new_tokens", 20)[1]
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    code, said, _ = clearhead("runs", "import", tmp_path / "poem-gpt.clearhead.zip")
    assert (code, said[-1]) == (0, str(Path("runs") / "poem-gpt"))
    assert clearhead("generate", "--max_new_tokens", 20)[1] == written
    assert clearhead("runs", "verify")[0] == 0
    code, said, _ = clearhead("runs", "import", tmp_path / "poem-gpt.clearhead.zip", "--out", "mine", "--name", "x")
    assert (code, said[-1]) == (0, str(Path("mine") / "x"))


def test_export_and_import_as_json(clearhead, run, tmp_path):
    code, said, _ = clearhead("runs", "export", run, "--to", "sub/a.zip", "--with_tokens", "--all", "--json")
    document = json.loads("\n".join(said))
    size = (tmp_path / "sub" / "a.zip").stat().st_size
    assert (code, document["archive"], document["bytes"]) == (0, str(Path("sub") / "a.zip"), size)
    code, said, _ = clearhead("runs", "import", "sub/a.zip", "--json")
    assert (code, json.loads("\n".join(said))["run"]) == (0, str(Path("runs") / "poem-gpt-2"))
    assert clearhead("ladder", "runs/poem-gpt-2")[0] == 0


def test_what_cannot_be_exported_or_imported_is_one_line(clearhead, run, poem, tmp_path):
    assert clearhead("runs", "export")[0] == 0
    for argv, code in (
        (("export",), 1),
        (("export", "nothing"), 2),
        (("import",), 2),
        (("import", "nothing.zip"), 2),
        (("import", "poem.txt"), 2),
        (("import", "poem-gpt.clearhead.zip", "--name", "../x"), 2),
    ):
        found, said, told = clearhead("runs", *argv)
        assert (found, said, len(told)) == (code, [], 1), argv
        assert told[0].startswith("clearhead: ")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["poem-gpt"]
