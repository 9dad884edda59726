"""`clearhead import`: from a checkpoint and its text to a run that every other verb takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import clearhead
from clearhead.cli.main import main
from clearhead.errors import CheckpointError, ConfigError
from clearhead.initialise import foreign
from clearhead.runs.directory import RunDirectory
from clearhead.runs.verification import verify_run
from initialise.foreign_models import SHAPE, lecture, lecture_state, nanogpt, nanogpt_checkpoint

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command; returns (exit code, standard output, standard error)."""

    def run(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in argv])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def characters(text: Path) -> list[str]:
    """The vocabulary as both projects build it."""
    return sorted(set(text.read_text(encoding="utf-8")))


def saved(what: Any, name: str = "ckpt.pt") -> Path:
    torch.save(what, name)
    return Path(name)


@torch.no_grad()
def val_loss(logits: Callable[[Tensor], Tensor], text: Path, block_size: int) -> float:
    """Nats per token over the last tenth, in windows that do not overlap, by the other project's own module."""
    stoi = {character: number for number, character in enumerate(characters(text))}
    written = text.read_text(encoding="utf-8")
    ids = torch.tensor([stoi[character] for character in written[int(0.9 * len(written)) :]])
    total = 0.0
    for start in range(0, len(ids) - 1, block_size):
        y = ids[start + 1 : start + 1 + block_size]
        total += float(F.cross_entropy(logits(ids[None, start : start + len(y)])[0], y, reduction="sum"))
    return total / (len(ids) - 1)


def test_nanogpts_checkpoint_becomes_a_run(call: Call, poem: Path) -> None:
    model = nanogpt(len(characters(poem)))
    code, said, told = call("import", saved(nanogpt_checkpoint(model)), "--text", poem)
    lines = said.splitlines()
    assert (code, told, lines[-1]) == (0, "", str(Path("runs", "poem-nanogpt")))
    assert lines[0].startswith("ckpt.pt is of nanoGPT: 2 layers, 3 heads, width 24, context 16, ")
    assert lines[0].endswith(f"{len(characters(poem))} characters, step 250")
    assert lines[1].startswith("logits agree with an independent forward pass of its own tensors to ")
    loss = val_loss(model, poem, SHAPE["block_size"])
    assert lines[2].startswith(f"validation loss {loss:.4f} nats per token, ")
    assert lines[2].endswith("; its own estimate: 1.4697 nats")
    assert lines[3].startswith("note: the loss is above that of guessing"), "random weights are worse than guessing"


def test_every_verb_takes_the_run(call: Call, poem: Path) -> None:
    model = nanogpt(len(characters(poem)))
    call("import", saved(nanogpt_checkpoint(model)), "--text", poem, "--name", "theirs")
    code, said, _ = call("generate", "theirs", "--prompt", "I love", "--max_new_tokens", 5, "--json")
    assert code == 0
    assert len(json.loads(said)["samples"][0]) == 5
    code, said, _ = call("ladder", "theirs", "--json")
    rungs = {rung["name"]: rung for rung in json.loads(said)["rungs"]}
    assert rungs["gpt"]["nats_per_token"] == pytest.approx(val_loss(model, poem, 16), abs=1e-5)
    assert rungs["gpt"]["fit_seconds"] is None, "nobody here knows how long it was trained"
    code, said, _ = call("runs", "--json")
    (row,) = json.loads(said)["runs"]
    assert (row["corpus"], row["step"], row["max_iters"], row["state"]) == ("poem.txt", 250, 250, "trained")
    assert row["val"] == pytest.approx(val_loss(model, poem, 16), abs=1e-5)


@pytest.mark.parametrize("steps", [0, 250])
def test_weights_are_trained_further_but_not_resumed(call: Call, poem: Path, steps: int) -> None:
    model = nanogpt(len(characters(poem)))
    call("import", saved(nanogpt_checkpoint(model, iter_num=steps)), "--text", poem, "--name", "theirs")
    for more in ([], ["--max_iters", 500]):
        code, _, told = call("resume", "theirs", *more)
        assert (code, told.count("\n")) == (2, 1)
        assert "no optimizer state" in told
        assert "--init_from" in told
    flags = ["--max_iters", 2, "--batch_size", 2, "--eval_iters", 1, "--device", "cpu", "--json"]
    code, said, _ = call("train", "--init_from", "theirs", *flags)
    assert code == 0
    weights = clearhead.load(json.loads(said)["run"]).model.state_dict()
    assert (weights["position_embedding_table.weight"] - model.transformer["wpe"].weight).abs().max() < 0.1


def test_the_run_is_like_any_other(poem: Path) -> None:
    run = clearhead.import_checkpoint(saved(nanogpt_checkpoint(nanogpt(len(characters(poem))))), poem)
    assert isinstance(run.directory, RunDirectory)
    assert verify_run(run.directory).ok
    assert (run.step, run.config.preset, run.config.architecture.n_embd, run.config.train.block_size) == (
        250, "gpt2", 24, 16,
    )  # fmt: skip
    assert run.config.train.dropout == 0.2
    assert list(run.tokenizer.to_dict()["characters"]) == characters(poem)
    assert (run.directory.pointer("best"), run.directory.pointer("latest")) == (250, 250)
    state = json.loads((run.directory.checkpoint(250) / "state.json").read_text(encoding="utf-8"))
    kept = state["trainer"]["imported"]
    assert (kept["layout"], kept["file"]) == ("nanogpt", "ckpt.pt")
    assert 0 < kept["logits_difference"] <= 1e-4
    assert kept["checked_tokens"] >= 940 + len(characters(poem))
    assert [event["event"] for event in run.directory.read_events()][-3:] == ["evaluated", "saved", "finished"]


def test_the_lectures_gpt_and_bigram(call: Call, poem: Path) -> None:
    model = lecture(len(characters(poem)))
    code, said, _ = call("import", saved(lecture_state(model)), "--text", poem, "--json")
    document = json.loads(said)
    assert (code, document["layout"], document["steps"], document["best_val_loss"]) == (0, "lecture", 0, None)
    assert document["run"] == str(Path("runs", "poem-lecture"))
    assert document["val_nats_per_token"] == pytest.approx(val_loss(lambda x: model(x, x)[0], poem, 16), abs=1e-5)
    table = torch.randn(len(characters(poem)), len(characters(poem)))
    code, said, _ = call("import", saved({"token_embedding_table.weight": table}), "--text", poem, "--json")
    document = json.loads(said)
    assert (code, document["layout"], document["logits_difference"]) == (0, "bigram", 0)
    assert document["val_nats_per_token"] == pytest.approx(val_loss(lambda x: table[x], poem, 999), abs=1e-5)
    code, said, _ = call("ladder", document["run"], "--json")
    assert code == 0
    assert json.loads(said)["rungs"][-1]["nats_per_token"] is not None


def test_lines_take_the_line_ends_token(call: Call, tmp_path: Path) -> None:
    """Where lines are documents, end-of-text means what the line end meant to the other project."""
    text = tmp_path / "lines.txt"
    text.write_text("\n".join(f"{word}{number}" for number in range(60) for word in ("ana", "ben", "cy")) + "\n")
    model = nanogpt(len(characters(text)))
    code, said, _ = call("import", saved(nanogpt_checkpoint(model)), "--text", text, "--lines")
    assert code == 0
    assert "note: validation lines are chosen by their text here" in said
    run = clearhead.load(said.splitlines()[-1])
    stoi = {character: number for number, character in enumerate(characters(text))}
    theirs = torch.tensor([[stoi[character] for character in "\nana7\nben"]])
    eot = run.tokenizer.eot_id
    encoded = (run.tokenizer.encode(line).tolist() for line in ("ana7", "ben"))
    ours = torch.tensor([[eot, *next(encoded), eot, *next(encoded)]])
    with torch.no_grad():
        here, there = run.model(ours).logits[0], model(theirs)[0]
    torch.testing.assert_close(here[:, eot], there[:, stoi["\n"]], atol=1e-4, rtol=0)
    for character in "an7":
        mine = here[:, int(run.tokenizer.encode(character)[0])]
        torch.testing.assert_close(mine, there[:, stoi[character]], atol=1e-4, rtol=0)


def text_of(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_vocabularies_that_differ_are_told_apart(call: Call, poem: Path, tmp_path: Path) -> None:
    V = len(characters(poem))
    text = poem.read_text(encoding="utf-8")
    crlf = text_of(tmp_path / "crlf.txt", text.replace("\n", "\r\n"))
    for size, given, reason in (
        (V + 1, poem, f"has {V + 1} tokens, but poem.txt has {V} different characters: it was trained on another text"),
        (V, crlf, f"has {V} tokens, but crlf.txt has {V + 1} different characters: its lines end with \\r\\n"),
        (64, poem, "has 64 tokens, but poem.txt has 32 different characters: a vocabulary that is padded"),
        (50_304, poem, "has GPT-2's vocabulary of 50,304 pieces of words"),
    ):
        checkpoint = saved(nanogpt_checkpoint(nanogpt(size, n_embd=6, n_layer=1)))
        code, said, told = call("import", checkpoint, "--text", given)
        assert (code, said, told.count("\n")) == (2, "", 1)
        assert reason.replace("32 different", f"{V} different") in told
    assert not Path("runs").exists()


def test_what_is_wrong_leaves_nothing_behind(call: Call, poem: Path, tmp_path: Path) -> None:
    good = saved(nanogpt_checkpoint(nanogpt(len(characters(poem)))))
    two = tmp_path / "two"
    two.mkdir()
    for name in ("a.txt", "b.txt"):
        text_of(two / name, poem.read_text(encoding="utf-8"))
    for argv, reason in (
        (["--text", poem], "import needs the checkpoint; as in: clearhead import ckpt.pt --text input.txt"),
        ([good], "import needs --text"),
        ([good, "--text", "nowhere.txt"], "'nowhere.txt' does not exist"),
        (["nowhere.pt", "--text", poem], "nowhere.pt does not exist"),
        ([poem, "--text", poem], "poem.txt is no file that torch.save wrote"),
        ([good, "--text", two], "two is several documents"),
        ([good, "--text", poem, "--name", "../x"], "is no plain folder name"),
        ([good, "--text", poem, "--n_heads", 3], "did you mean '--n_head'?"),
    ):
        code, said, told = call("import", *argv)
        assert (code, said, told.count("\n")) == (2, "", 1), told
        assert reason in told
    assert not Path("runs").exists()
    assert not Path("x").exists()


def test_other_logits_are_refused(call: Call, poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward pass of theirs that differs a little, as one with another epsilon would."""
    checkpoint = saved(lecture_state(lecture(len(characters(poem)))))
    monkeypatch.setattr(foreign, "NORM_EPS", 1e-3)
    code, said, told = call("import", checkpoint, "--text", poem)
    assert (code, said, told.count("\n")) == (2, "", 1)
    assert "gives other logits here than by its own forward pass: they differ by" in told
    assert not Path("runs").exists()
    with pytest.raises(CheckpointError, match="nothing was written"):
        clearhead.import_checkpoint(checkpoint, poem)


def test_a_disk_that_refuses_leaves_no_half_run(poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clearhead.training.importing.save_checkpoint", refuse)
    with pytest.raises(OSError, match="No space"):
        clearhead.import_checkpoint(saved(nanogpt_checkpoint(nanogpt(len(characters(poem))))), poem)
    assert list(Path("runs").iterdir()) == []


def test_short_texts_have_no_validation(call: Call, tmp_path: Path) -> None:
    text = text_of(tmp_path / "short.txt", "the rain came and sang\n")
    code, said, _ = call("import", saved(lecture_state(lecture(len(characters(text))))), "--text", text, "--json")
    document = json.loads(said)
    assert (code, document["val_nats_per_token"]) == (0, None)
    assert any("no validation possible" in notice for notice in document["notices"])


def test_settings_that_reading_does_not_have(poem: Path) -> None:
    with pytest.raises(ConfigError, match="unknown setting 'line': did you mean 'lines'"):
        clearhead.import_checkpoint("ckpt.pt", poem, line=True)
