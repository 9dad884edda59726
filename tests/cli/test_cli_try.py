"""`clearhead try`: the table, one JSON document, refusals in one line, and Ctrl-C that loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearhead.cli.main import main
from clearhead.runs.directory import all_runs

SMALL = [
    *("--n_layer", "1", "--batch_size", "4", "--block_size", "16", "--max_iters", "20"),
    *("--eval_iters", "2", "--device", "cpu", "--seeds", "2"),
]


@pytest.fixture
def _here(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_a_table_its_document_and_its_picture(poem, capsys):
    assert main(["try", "n_embd=4,8", str(poem), *SMALL]) == 0
    first = capsys.readouterr().out
    assert "2 settings, 2 seeds each: about" in first
    assert "4/4  n_embd=8, seed 1338: about" in first
    assert main(["try", "n_embd=4,8", str(poem), *SMALL, "--json", "--html", "found"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert "made before" in told.err, "runs are used again, and progress goes to standard error"
    assert document["verdict"] in first
    for row in document["outcomes"]:
        assert f"{row['nats_per_token']:.4f}" in first
    first_run = document["outcomes"][0]["trials"][0]["run"]
    assert first_run.startswith(str(Path("runs", "poem-n_embd-4-seed-1337-")))
    assert main(["runs"]) == 0
    assert "poem-n_embd-4-seed-1337-" in capsys.readouterr().out


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["n_emb=4,8"], "did you mean 'n_embd'"),
        ([], "no knob to turn"),
        (["n_embd=4,x"], "wants a whole number"),
        (["n_embd=4,8", "n_layer=1,2", "dropout=0,0.1"], "--search 20"),
        (["n_embd=4,8", "--seeds", "0"], "seeds=0"),
        (["n_embd=4,8", "--n_embd", "4"], "leave --n_embd out"),
        (["n_embd=4,8", "--time", "soon"], "is no duration"),
        (["n_embd=512,1024", "--max_iters", "1000000"], "say --yes"),
        (["n_embd=4..8", "--search", "1"], "search=1"),
        (["n_embd=4,8", "--flag"], "unknown argument '--flag'"),
    ],
)
def test_refusals(poem, tmp_path, capsys, words, says):
    assert main(["try", *words, str(poem)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert says in told.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("_here")
def test_settings_hold_for_all_runs_also_those_that_are_switched_off(poem, capsys):
    words = ["try", "n_embd=4,8", str(poem), *SMALL, "--seeds", "1", "--no_bias", "--seed", "7", "--json"]
    assert main(words) == 0
    runs = all_runs(Path("runs"))
    assert [run.read_config().architecture.bias for run in runs] == [False, False]
    assert [run.read_config().train.seed for run in runs] == [7, 7]


def test_ctrl_c_saves_and_the_same_command_goes_on(poem, tmp_path):
    command = [sys.executable, "-m", "clearhead", "try", "n_embd=4,8", str(poem), *SMALL, "--max_iters", "600"]
    command += ["--eval_interval", "600", "--out", str(tmp_path / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    events, deadline = [], time.monotonic() + 60
    while not any('"stepped"' in file.read_text() for file in events) and time.monotonic() < deadline:
        time.sleep(0.05)
        events = list((tmp_path / "runs").glob("*/events.jsonl"))
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "which is saved; go on with the same command" in told
    (run,) = (tmp_path / "runs").glob("poem-*")
    assert list((run / "checkpoints").glob("step-*"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").glob("poem-*"))) == 4
