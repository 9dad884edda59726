"""The command line as scripts and people meet it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearhead.cli.main import VERBS

TINY = [
    "--n_embd",
    "16",
    "--n_head",
    "2",
    "--n_layer",
    "1",
    "--block_size",
    "16",
    "--batch_size",
    "4",
    "--eval_iters",
    "2",
    "--device",
    "cpu",
]


@pytest.fixture
def out(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_help_names_every_verb(clearhead):
    code, said, _ = clearhead("--help")
    assert code == 0
    assert all(verb in said for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(clearhead, verb):
    code, said, _ = clearhead(verb, "--help")
    assert code == 0
    assert "--json" in said or verb in ("chat", "serve", "studio"), (
        "who reports has --json; a chat is for people, servers speak it"
    )


def test_help_needs_no_torch():
    code = (
        "import sys; from clearhead.cli.main import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_train_prints_the_run_last(clearhead, poem, out):
    code, said, _ = clearhead("train", poem, "--max_iters", 20, *TINY)
    assert code == 0
    assert said.splitlines()[-1] == str(Path("runs") / "poem-gpt")
    for words in (
        "to beat on validation",
        "beside ln V",
        "nats per token",
        "bits per character",
        "The ladder of poem.txt",
    ):
        assert words in said
    assert (out / "poem-gpt" / "events.jsonl").stat().st_size


def test_train_json_is_one_document(clearhead, poem, out):
    code, said, told = clearhead("train", poem, "--max-iters", 10, "--json", "--name", "mine", *TINY)
    document = json.loads(said)
    assert code == 0
    assert document["run"] == str(Path("runs") / "mine")
    assert document["steps"] == 10
    assert document["seconds"] > 0
    assert 0 < document["val_nats_per_token"] < document["val_bits_per_char"]
    assert "step 0" in told, "progress goes to standard error"


def test_the_contract_of_ladder_json(clearhead, poem, out):
    clearhead("train", poem, "--max_iters", 5, *TINY)
    for arguments in ([poem], ["poem-gpt"], [poem, "poem-gpt"]):
        code, said, _ = clearhead("ladder", *arguments, "--json")
        document = json.loads(said)
        assert code == 0
        assert set(document) >= {"corpus", "val_characters", "rungs"}
        assert document["val_characters"] == 940
        for rung in document["rungs"]:
            assert set(rung) >= {
                "name", "bits_per_char", "nats_per_token", "parameters", "fit_seconds", "context", "tokenizer", "run",
            }  # fmt: skip
        names = [rung["name"] for rung in document["rungs"]]
        own = ["gpt", "mixture"] if "poem-gpt" in arguments else []
        assert sorted(names) == sorted(["uniform", "unigram", "bigram", "ngram", *own])


def test_generate_streams_and_repeats(clearhead, poem, out):
    clearhead("train", poem, "--max_iters", 5, *TINY)
    code, said, _ = clearhead("generate", "--prompt", "The rain", "--max_new_tokens", 20, "--seed", 3)
    assert code == 0
    assert said.startswith("The rain")
    assert clearhead("generate", "--prompt", "The rain", "--max_new_tokens", 20, "--seed", 3)[1] == said
    code, document, _ = clearhead(
        "generate", "poem-gpt", "--prompt", "The rain", "--max_new_tokens", 20, "--seed", 3, "--json"
    )
    assert json.loads(document) == {"prompt": "The rain", "samples": [said.removeprefix("The rain").removesuffix("\n")]}


def test_generate_says_what_it_left_out(clearhead, poem, out):
    clearhead("train", poem, "--max_iters", 2, *TINY)
    code, _, told = clearhead("generate", "--prompt", "Zürich" + " and the" * 10, "--max_new_tokens", 5)
    assert code == 0
    assert "never seen 'Z' 'ü'" in told
    assert told.count("sees only its end") == 1
    code, said, told = clearhead("generate", "--prompt", "Zürich", "--refuse_unknown")
    assert (code, said) == (2, "")
    assert "'ü'" in told


def test_generate_reads_a_prompt_file(clearhead, poem, out, tmp_path):
    clearhead("train", poem, "--max_iters", 2, *TINY)
    (tmp_path / "prompt.txt").write_text("and the\ncats", encoding="utf-8")
    _, said, _ = clearhead("generate", "--prompt_file", tmp_path / "prompt.txt", "--max_new_tokens", 3)
    assert said.startswith("and the\ncats")
    assert clearhead("generate", "--prompt_file", tmp_path / "missing.txt")[0] == 2


def test_look_shows_what_the_lecture_shows(clearhead, shakespeare, out):
    code, said, _ = clearhead("look", shakespeare)
    assert code == 0
    assert "1,115,394 characters" in said
    assert "'hii there' -> [46, 47, 47, 1, 58, 46, 43, 56, 43]" in said
    assert said.count("when the context is [") == 8
    document = json.loads(clearhead("look", shakespeare, "--json")[1])
    assert document["vocab_size"] == 65
    assert document["split"]["train"]["characters"] + document["split"]["dev"]["characters"] == 1_003_854
    assert document["batch"]["x"][0][1:] == document["batch"]["y"][0][:-1]
    assert document["epochs"] == pytest.approx(2_000 * 12 * 64 / 983_776, rel=1e-3)


def test_look_warns(clearhead, out, tmp_path):
    (tmp_path / "mixed.txt").write_bytes(b"one\r\ntwo\nthree\r\n" * 20)
    _, said, _ = clearhead("look", tmp_path / "mixed.txt")
    assert "mixed line ends" in said
    assert "only 320 characters" in said


def test_runs_lists_what_is_there(clearhead, poem, out):
    assert "no run in runs yet" in clearhead("runs")[1]
    clearhead("train", poem, "--max_iters", 5, *TINY)
    clearhead("train", poem, "--model", "ngram", "--name", "counted")
    rows = json.loads(clearhead("runs", "--json")[1])["runs"]
    assert [(row["model"], row["step"], row["state"]) for row in rows] == [
        ("gpt", 5, "trained"),
        ("ngram", None, "counted"),
    ]
    (out / "counted" / "config.toml").write_text("nonsense", encoding="utf-8")
    assert "broken" in clearhead("runs")[1]


def test_doctor_measures(clearhead, out):
    facts = json.loads(clearhead("doctor", "--json")[1])
    assert facts["matrix_gflops"] > 1
    assert facts["free_disk_gb"] > 0
    assert {"device", "torch", "threads", "python"} <= set(facts)


def test_a_config_file_lies_under_the_flags(clearhead, poem, out, tmp_path):
    (tmp_path / "run.toml").write_text("preset = 'lecture'\n[train]\nmax_iters = 7\nseed = 5\n", encoding="utf-8")
    code, _, _ = clearhead("train", poem, "--config", tmp_path / "run.toml", "--max_iters", 3, *TINY)
    assert code == 0
    written = (out / "poem-gpt" / "config.toml").read_text()
    for line in ('preset = "lecture"', "max_iters = 3", "seed = 5", 'activation = "relu"', "n_embd = 16"):
        assert line in written


BAD = {
    "empty": b"",
    "one": b"x",
    "latin1": "caf\xe9 ".encode("latin-1") * 50,
    "nul": b"abc\0def" * 20,
}


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["train", "empty"], "empty"),
        (["train", "one"], "one character"),
        (["train", "latin1"], r"offset 3.*--errors replace"),
        (["train", "nul"], "NUL byte at offset 3"),
        (["train", "folder"], "no text files"),
        (["train", "missing.txt"], "does not exist"),
        (["train", "lattin1"], "did you mean 'latin1'"),
        (["train", "fifo"], "FIFO"),
        (["train", "latin1", "--n_embd", "100", "--n_head", "6"], "try 96 or 102"),
        (["train", "latin1", "--max_iters", "-3"], "max_iters=-3"),
        (["train", "latin1", "--learning_rate", "1e9"], "learning_rate"),
        (["train", "latin1", "--max_iter", "3"], "did you mean '--max_iters'"),
        (["train", "latin1", "--n_embd", "wide"], "--n_embd"),
        (["train", "latin1", "--model", "gtp"], "did you mean 'gpt'"),
        (["train", "latin1", "--preset", "modren"], "did you mean 'modern'"),
        (["train", "latin1", "--tokenizer", "chars"], "did you mean 'char'"),
        (["train", "latin1", "--errors", "replace", "--init", "xaver"], "did you mean 'xavier'"),
        (["train", "latin1", "--errors", "replace", "--optimizer", "moun"], "did you mean 'muon'"),
        (["train", "latin1", "--device", "cudda"], "cudda"),
        (["train", "latin1", "--config", "nowhere.toml"], "nowhere.toml"),
        (["train", "latin1", "--errors", "replace", "--name", "../up"], "no plain folder name"),
        (["trian", "latin1"], "did you mean 'train'"),
        (["generate", "nothing"], "clearhead train"),
        (["generate", "--temperature", "-1"], "temperature=-1"),
        (["resume"], "no run"),
        (["ladder", "nowhere"], "does not exist"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(clearhead, out, tmp_path, argv, says):
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
    elif "fifo" in argv:
        pytest.skip("this system has no FIFOs")
    code, said, told = clearhead(*argv)
    assert code == 2
    assert said == ""
    assert len(told.splitlines()) == 1
    assert re.search(says, told)
    assert not list(out.glob("*")), "nothing half-written is left behind"


def test_46_characters_train_and_say_what_cannot_be_said(clearhead, out, tmp_path):
    (tmp_path / "pets.txt").write_text("I love dogs\nI love cats\nDogs and cats are pets", encoding="utf-8")
    code, said, _ = clearhead("train", tmp_path / "pets.txt", "--max_iters", 3, *TINY)
    assert code == 0
    assert "no validation possible, these are training numbers" in said
    document = json.loads(clearhead("train", tmp_path / "pets.txt", "--max_iters", 3, "--json", *TINY)[1])
    assert document["val_nats_per_token"] is None


def test_an_unreadable_file_is_refused(clearhead, poem, out, monkeypatch):
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # a test may run as root, whom no file refuses
    code, said, told = clearhead("train", poem)
    assert (code, said) == (2, "")
    assert "Permission denied" in told
    assert len(told.splitlines()) == 1


def test_a_disk_that_refuses_is_exit_1(clearhead, poem, out, monkeypatch):
    import errno

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    code, _, told = clearhead("train", poem, "--max_iters", 3, *TINY)
    assert code == 1
    assert "Read-only file system" in told
    assert len(told.splitlines()) == 1
    assert not list(out.glob("*"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child")
def test_ctrl_c_saves_says_how_to_go_on_and_exits_130(poem, out):
    command = [sys.executable, "-m", "clearhead", "train", str(poem), "--max_iters", "100000", *TINY]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    events = out / "poem-gpt" / "events.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (events.exists() and '"stepped"' in events.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: clearhead resume" in told
    latest = int((out / "poem-gpt" / "latest").read_text().removeprefix("step-"))
    assert latest > 0
    assert (out / "poem-gpt" / "checkpoints" / f"step-{latest}" / "manifest.json").exists()


def test_resume_goes_on(clearhead, poem, out):
    from clearhead.api import new_job
    from clearhead.config import RunConfig
    from clearhead.training.events import Stepped

    settings = {"max_iters": 10, "save_interval": 2, "n_embd": 16, "n_head": 2, "n_layer": 1, "block_size": 16}
    job = new_job(RunConfig().with_settings({**settings, "eval_iters": 2}), [str(poem)], out=Path("runs"))
    for event in job.events():
        if isinstance(event, Stepped) and event.step == 5:
            break
    job.release()
    code, said, _ = clearhead("resume")
    assert code == 0
    assert "from step 4" in said
    assert said.splitlines()[-1] == str(Path("runs") / "poem-gpt")
    code, _, told = clearhead("resume")
    assert code == 2
    assert "complete at step 10" in told
