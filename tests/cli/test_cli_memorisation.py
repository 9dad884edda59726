"""`clearhead memorisation` as scripts and people meet it."""

import json
import random

import pytest

from clearhead.cli.main import main


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A counted run in runs/, of a text that does not repeat itself."""
    monkeypatch.chdir(tmp_path)
    draw = random.Random(3)
    (tmp_path / "letters.txt").write_text("".join(draw.choices("abcdefgh ", k=3_000)), encoding="utf-8")
    assert main(["train", "letters.txt", "--model", "ngram", "--name", "counted"]) == 0


def test_the_report_of_the_newest_run(counted, capsys):
    capsys.readouterr()
    assert main(["memorisation", "--samples", "2", "--max_new_tokens", "150", "--seed", "4"]) == 0
    said = capsys.readouterr().out
    for words in ("training text of letters.txt", "longest overlap", "novel of length 8", "copying than fresh text"):
        assert words in said


def test_the_contract_of_memorisation_json(counted, capsys):
    capsys.readouterr()
    assert main(["memorisation", "counted", "--samples", "2", "--max-new-tokens", "140", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"run", "corpus", "train_characters", "samples", "val", "copies", "reading"}
    assert document["train_characters"] == 2_700
    assert document["samples"]["characters"] == 280
    assert len(document["val"]) == 1
    for overlap in (document["samples"], *document["val"]):
        assert set(overlap) == {"characters", "longest", "passage", "offset", "passages", "novel"}
        assert overlap["novel"].keys() == overlap["passages"].keys()
        assert len(overlap["passage"]) == overlap["longest"] > 0
    assert document["copies"] is False


def test_a_wrong_flag_and_a_missing_run_are_one_line(counted, capsys):
    for argv in (["--sample", "3"], ["--samples", "0"], ["--max_new_tokens", "0"], ["nowhere"]):
        capsys.readouterr()
        assert main(["memorisation", *argv]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
