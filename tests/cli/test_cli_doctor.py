"""`clearhead doctor`: the machine, and whether a run will fit."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from clearhead.training import fitting
from clearhead.training.fitting import Room
from clearhead.training.footprint import Baseline

TINY = [
    *("--n_embd", "16", "--n_head", "2", "--n_layer", "1", "--block_size", "16", "--batch_size", "8"),
    *("--eval_iters", "2", "--device", "cpu"),
]
BASELINE = Baseline(300_000_000, 310_000_000, measured=True)


@pytest.fixture
def alone(monkeypatch):
    """As in a process that has done nothing else: a test's own memory is no run's."""
    monkeypatch.setattr(fitting, "rehearse", lambda config, runtime: BASELINE)
    monkeypatch.setattr(fitting, "most_counting", lambda text: -(10**12))


@pytest.fixture
def room(monkeypatch):
    """Say how much is free."""

    def set_room(memory: int | None = 10**12, disk: int = 10**12, device: int | None = None) -> None:
        monkeypatch.setattr(fitting, "_room", lambda text, free_disk: Room(memory, device, disk))

    return set_room


def test_a_run_that_fits(clearhead, poem, alone):
    code, said, told = clearhead("doctor", "--run", poem, *TINY)
    assert (code, told) == (0, "")
    assert re.match(
        r"fits: [\d,.]+ [MG]B of memory at most \(\w+\), .* free; .* of disk at most", said.splitlines()[-1]
    )
    for words in ("memory, training", "memory, judging", "weights", "moments", "a checkpoint", "in the cache"):
        assert words in said
    assert not Path("runs").exists(), "nothing is made but tokens in the cache"


def test_one_document_for_a_script(clearhead, poem):
    code, said, _ = clearhead("doctor", "--run", poem, *TINY, "--json")
    document = json.loads(said)
    assert code == 0
    assert document["fits"] is True
    assert document["verdict"].startswith("fits: ")
    assert document["memory"]["peak"] == max(document["memory"]["phases"].values())
    assert set(document["memory"]["parts"]) >= {"weights", "gradients", "moments", "activations, logits"}
    assert document["device"]["peak"] is None
    assert document["disk"]["run"] >= document["disk"]["checkpoint"] * document["disk"]["checkpoints"]
    assert document["disk"]["free"] > 0


def test_a_time_is_planned_for_as_train_does(clearhead, poem, alone):
    code, said, _ = clearhead("doctor", "--run", poem, "--time", "6s", "--device", "cpu", "--json")
    assert code == 0
    assert any(notice.startswith("plan for 6") for notice in json.loads(said)["notices"])


def need(clearhead, *argv: object) -> dict[str, Any]:
    return json.loads(clearhead("doctor", "--run", *argv, "--json")[1])


BATCH = ["--batch_size", "512", "--block_size", "64"]


def test_too_much_memory_names_a_split_of_the_batch(clearhead, poem, alone, room):
    argv = [poem, *TINY, *BATCH]
    room(memory=need(clearhead, *argv)["memory"]["phases"]["training"] - 1)
    code, said, _ = clearhead("doctor", "--run", *argv)
    assert code == 1
    last = said.splitlines()[-1]
    assert re.match(r"does not fit: training needs [\d,.]+ MB of memory and [\d,.]+ MB are free; try --\w+ \d+", last)
    settings = re.findall(r"(--\w+ \d+)", last)
    assert clearhead("doctor", "--run", *argv, *" ".join(settings).split())[0] == 0, "what is advised helps"


def test_too_wide_a_model_is_told_how_wide(clearhead, poem, alone, room):
    room(memory=500_000_000)
    code, said, _ = clearhead("doctor", "--run", poem, *TINY, "--n_embd", "4096")
    assert code == 1
    assert "--n_embd" in said.splitlines()[-1].partition("try ")[2]


def test_a_text_that_cannot_be_counted_is_not_tried(clearhead, poem, room, monkeypatch):
    room(memory=1)
    monkeypatch.setattr(fitting, "draft_run", lambda *_, **__: pytest.fail("it was counted"))
    code, said, _ = clearhead("doctor", "--run", poem, *TINY)
    assert code == 1
    assert re.search("reading and counting needs .*; train on a part of the text", said.splitlines()[-1])


@pytest.mark.parametrize(
    ("flags", "advice"), [(["--keep", "20"], "--keep 2"), (["--keep", "2"], "an --out on a larger disk")]
)
def test_too_little_disk(flags, advice, clearhead, poem, alone, room):
    argv = [poem, *TINY, "--max_iters", "100", "--save_interval", "2", "--eval_interval", "2", *flags]
    room(disk=need(clearhead, *argv)["disk"]["run"] - 1)
    code, said, _ = clearhead("doctor", "--run", *argv)
    assert code == 1
    assert re.search(rf"does not fit: .* of disk at most are needed and .* are free; .*{advice}", said.splitlines()[-1])


def test_what_is_not_known_is_said(clearhead, poem, room, monkeypatch):
    room(memory=None)
    monkeypatch.setattr(fitting, "rehearse", lambda config, runtime: Baseline(400 << 20, 400 << 20, measured=False))
    code, said, _ = clearhead("doctor", "--run", poem, *TINY)
    assert code == 0
    assert "what is free is not known here" in said
    assert "not measured of memory" in said
    assert "(guessed)" in said


def test_a_gpu_has_its_own_room(clearhead, poem, alone, room, monkeypatch):
    argv = [poem, *TINY, *BATCH]
    monkeypatch.setattr(fitting, "predict", _on_a_gpu(fitting.predict))
    monkeypatch.setattr(fitting, "predict_training", _on_a_gpu(fitting.predict_training))
    needed = need(clearhead, *argv)["device"]["peak"]
    room(device=needed)
    assert clearhead("doctor", "--run", *argv)[0] == 0
    room(device=needed - 1)
    code, said, _ = clearhead("doctor", "--run", *argv)
    assert code == 1
    assert re.search(r"training needs .* of the GPU's memory and .* are free; try --accumulation", said)


def _on_a_gpu(real):
    """A prediction whose training lies on another device than the CPU."""
    from dataclasses import replace

    def moved(*args: Any, **kwargs: Any) -> Any:
        footprint = real(*args, **kwargs)
        return replace(footprint, device=footprint.memory["training"], memory={"training": BASELINE.now})

    return moved


@pytest.mark.parametrize("model", ["bigram", "ngram", "mixture"])
def test_other_models(model, clearhead, poem, alone):
    shape = TINY if model == "mixture" else []
    code, said, _ = clearhead("doctor", "--run", poem, "--model", model, *shape, "--json")
    assert code == 0
    document = json.loads(said)
    assert document["run"].startswith(model)
    assert (document["disk"]["mixture"] > 0) is (model == "mixture")


BAD = [
    ["empty.txt"],
    ["missing.txt"],
    ["poem.txt", "--n_embd", "100", "--n_head", "6"],
    ["poem.txt", "--max_iters", "-3"],
    ["poem.txt", "--n_embd", "wide"],
    ["poem.txt", "--model", "gtp"],
    ["poem.txt", "--optimizer", "moun"],
    ["poem.txt", "--device", "cudda"],
    ["poem.txt", "--config", "nowhere.toml"],
    ["poem.txt", "--name", "../up"],
    ["poem.txt", "--time", "soon"],
    ["poem.txt", "--init_from", "nothing"],
    ["poem.txt", "--tokenizer", "chars"],
]


@pytest.mark.parametrize("argv", BAD, ids=" ".join)
def test_what_train_refuses_is_refused_in_the_same_words(argv, clearhead, poem):
    Path("empty.txt").write_bytes(b"")
    trained, said = clearhead("train", *argv), clearhead("doctor", "--run", *argv)
    assert said == (2, "", trained[2].replace("clearhead train --help", "clearhead doctor --help"))
    assert len(said[2].splitlines()) == 1


def test_flags_of_a_run_want_run(clearhead, poem):
    code, said, told = clearhead("doctor", "--n_layer", "2")
    assert (code, said) == (2, "")
    assert "add --run" in told
    assert "add --run" in clearhead("doctor", poem)[2]


def test_the_machine_alone(clearhead):
    code, said, _ = clearhead("doctor", "--json", "--device", "cpu")
    facts = json.loads(said)
    assert code == 0
    assert facts["device"] == "cpu"
    assert facts["runs"] == "runs"
    assert os.environ["CLEARHEAD_CACHE"] == facts["cache"]
