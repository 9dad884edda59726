"""Ranks that hold parts of a model train what ranks do that hold all of it, and any number can go on from there."""

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clearhead.config import RunConfig
from clearhead.errors import CheckpointError, ConfigError
from clearhead.files import sha256_file
from clearhead.runs.archive import export_run, import_run
from clearhead.runs.checkpoint import MANIFEST, STATE, load_checkpoint, newest_checkpoint
from clearhead.runs.directory import RunDirectory
from clearhead.runs.records import read_json, to_json
from clearhead.runs.sharded import read_whole, shards_of
from clearhead.runs.verification import verify_run
from clearhead.training.dividing import weigh_groups
from clearhead.training.scaling import Model, moved
from distributed.team import Team, bits, figures, told, witnesses

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked from a process that knows torch")

TOLERANCE = {"adamw": 1e-5, "muon": 1e-3}
"""Relative, in float32: Muon brings the smallest directions of a gradient to the size of the largest, noise too."""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with Team(tmp_path_factory.mktemp("sharded")) as made:
        yield made


@pytest.fixture(scope="module")
def whole(team: Team) -> RunDirectory:
    """A run of two ranks that nothing disturbed."""
    return team.train(2, "whole", parallel="fsdp", optimizer="muon", dropout=0.2)


@pytest.fixture(scope="module")
def cut(team: Team) -> Path:
    """A run of two ranks in float64, cut short after the checkpoint of step 5."""
    ends = team.run(2, team.words("cut", parallel="fsdp", precision="float64"), at=6, kill=signal.SIGKILL)
    assert {ended.code for ended in ends} <= {1, -signal.SIGKILL}
    return team.directory("cut").path


def copied(cut: Path, name: str) -> RunDirectory:
    return RunDirectory(shutil.copytree(cut, cut.with_name(name)))


def assert_alike(one: RunDirectory, other: RunDirectory, tolerance: float) -> None:
    assert [what for what, _ in figures(one)] == [what for what, _ in figures(other)]
    for (what, a), (_, b) in zip(figures(one), figures(other), strict=True):
        assert b == pytest.approx(a, rel=tolerance), f"{what} of {other.name}"


def same_learning(team: Team, sizes: tuple[int, ...], name: str, tolerance: float, **flags: object) -> None:
    """One process, ranks that hold all, and ranks that hold parts tell the same."""
    alone = team.train(1, f"{name}-1", **flags)
    assert_alike(alone, team.train(2, f"{name}-ddp", **flags), tolerance)
    for size in sizes:
        assert_alike(alone, team.train(size, f"{name}-{size}", parallel="fsdp", **flags), tolerance)


@pytest.mark.parametrize("optimizer", TOLERANCE)
def test_parts_learn_what_the_whole_learns(team, optimizer):
    """In float64, and beside DDP: the same batches, losses, gradient norms, and the same estimates and dev."""
    same_learning(team, (2, 4), optimizer, 1e-9, optimizer=optimizer, precision="float64")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["lecture", "gpt2", "modern"])
@pytest.mark.parametrize("optimizer", TOLERANCE)
def test_parts_learn_the_same_with_every_preset(team, preset, optimizer):
    """Tied weights, biases, learned positions; of seven ranks some hold no row of a norm."""
    name, flags = f"{preset}-{optimizer}", {"preset": preset, "optimizer": optimizer, "batch_size": 8}
    same_learning(team, (3, 7), name, 1e-9, precision="float64", **flags)


@pytest.mark.parametrize("optimizer", TOLERANCE)
def test_in_float32_parts_stay_close(team, optimizer):
    flags = {"optimizer": optimizer, "precision": "float32"}
    same_learning(team, (2,), f"close-{optimizer}", TOLERANCE[optimizer], **flags)


@pytest.mark.slow
def test_a_mixture_is_fitted_to_what_the_parts_learned(team):
    flags = {"model": "mixture", "precision": "float64"}
    one, two = team.train(1, "mixed-1", **flags), team.train(2, "mixed-2", parallel="fsdp", **flags)
    assert_alike(one, two, 1e-9)
    assert two.mixture.exists()
    assert verify_run(two).ok


def test_each_rank_holds_its_part_and_gradients_are_added_once_a_step(team, tmp_path):
    """With two micro-batches as with one; weights are gathered for both."""
    said = {}
    for accumulation in (1, 2):
        folder = tmp_path / str(accumulation)
        folder.mkdir()
        words = team.words(f"parts-{accumulation}", parallel="fsdp", accumulation=accumulation)
        for ended in team.run(2, words, witness=str(folder)):
            assert ended.code == 0, ended.told
        first, *_ = said[accumulation] = list(witnesses(folder, 2).values())
        whole = load_checkpoint(team.directory(f"parts-{accumulation}"), 12).model.num_parameters()
        assert sum(rank["numbers"] for rank in first) == whole
        assert max(rank["numbers"] for rank in first) < 0.6 * whole
    for one, two in zip(said[1], said[2], strict=True):
        assert two[0]["sums"] == one[0]["sums"] == 2, "one for the block, one for the rest"
        assert two[0]["gathers"] > one[0]["gathers"] > 0
    config = team.directory("parts-1").read_config()
    vocab_size = team.directory("parts-1").read_tokenizer().vocab_size
    groups = weigh_groups(config, vocab_size, torch.float32)
    for accumulation, steps in said.items():
        sent = moved(Model(groups.rest + groups.block, groups, blocks=1), "fsdp", 2, accumulation)
        heard = (steps[3][0]["gathers_bytes"] + steps[3][0]["sums_bytes"]) / 2
        assert heard == sent.bytes, "what the cost model counts is what was sent"


def test_the_same_ranks_end_with_the_same_bits(team, whole):
    assert bits(team.train(2, "again", parallel="fsdp", optimizer="muon", dropout=0.2)) == bits(whole)


@pytest.mark.parametrize(("whose", "at"), [(1, 6), (0, 9)])
def test_a_killed_rank_ends_the_others_and_a_resume_has_the_same_bits(team, whole, whose, at):
    name = f"killed-{whose}"
    words = team.words(name, parallel="fsdp", optimizer="muon", dropout=0.2)
    ends = team.run(2, words, whose=whose, at=at, kill=signal.SIGKILL)
    assert ends[whose].code == -signal.SIGKILL
    assert ends[1 - whose].code == 1
    assert not any("Traceback" in ended.told for ended in ends), [ended.told for ended in ends]
    for ended in team.run(2, ["resume", str(team.directory(name).path)]):
        assert ended.code == 0, ended.told
    assert bits(team.directory(name)) == bits(whole)


@pytest.mark.parametrize(("size", "parallel"), [(1, "fsdp"), (4, "fsdp"), (2, "ddp")])
def test_what_two_saved_goes_on_in_any_number(team, cut, size, parallel):
    """Weights and moments: in float64 the figures are those of a run that one process made."""
    run = copied(cut, f"cut-{size}-{parallel}")
    assert shards_of(read_json(run.checkpoint(5) / MANIFEST)), "parts were saved"
    ends = team.run(size, ["resume", str(run.path), "--parallel", parallel])
    assert [ended.code for ended in ends] == [0] * size, [ended.told for ended in ends]
    if not team.directory("uncut").path.exists():
        team.train(1, "uncut", precision="float64")
    assert_alike(team.directory("uncut"), run, 1e-9)
    assert verify_run(run).ok
    if parallel == "ddp" or size == 1:
        assert not shards_of(read_json(run.checkpoint(12) / MANIFEST)), "and is whole from there on"


def test_an_ordinary_checkpoint_goes_on_in_parts(team):
    team.run(2, team.words("ordinary", precision="float64"), at=6, kill=signal.SIGKILL)
    run = team.directory("ordinary")
    for ended in team.run(2, ["resume", str(run.path), "--parallel", "fsdp"]):
        assert ended.code == 0, ended.told
    assert run.read_config().train.parallel == "fsdp"
    assert len(shards_of(read_json(run.checkpoint(12) / MANIFEST))) == 2
    if not team.directory("uncut").path.exists():
        team.train(1, "uncut", precision="float64")
    assert_alike(team.directory("uncut"), run, 1e-9)


def test_a_checkpoint_in_parts_is_tensors_and_json(team, whole):
    """No file that could run code, none that another tool could not read; together they are the model."""
    folder = whole.checkpoint(12)
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [*shards_of(read_json(folder / MANIFEST)), STATE, MANIFEST]
    )
    weights, moments = read_whole(folder)
    checkpoint = load_checkpoint(whole, 12)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in checkpoint.model.state_dict().items())
    assert {name.rpartition(".")[2] for name in moments} == {"exp_avg", "exp_avg_sq", "step", "momentum_buffer"}


def test_every_command_reads_a_run_in_parts(team, whole, tmp_path):
    (wrote,) = team.run(1, ["generate", str(whole.path), "--max_new_tokens", "20"])
    assert wrote.code == 0, wrote.told
    target = tmp_path / "run.zip"
    export_run(whole, target)
    moved = import_run(target, tmp_path / "out")
    assert verify_run(moved).ok
    one, other = (newest_checkpoint(run)[0].model.state_dict() for run in (whole, moved))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.slow
def test_a_save_by_the_clock_is_made_by_all(team):
    """Each rank has a clock of its own: what one thinks due, all write."""
    run = team.train(2, "clock", parallel="fsdp", save_minutes=0.01, save_interval=1_000, max_iters=150, keep=9)
    assert len([step for step in run.steps() if step not in (150, run.pointer("best"))]) >= 1
    assert verify_run(run).ok


def test_a_loss_that_is_no_number_on_one_rank_stops_all_with_one_message(team):
    ends = team.run(2, team.words("diverged", parallel="fsdp"), whose=1, at=6, nan=True)
    assert [ended.code for ended in ends] == [1, 1]
    assert "loss nan at step 6: stopped before the update, the last good step is 5" in ends[0].told
    assert ends[1].told == ""


def test_a_disk_that_refuses_one_rank_stops_all_with_one_message(team):
    """The newest whole checkpoint stays, and nothing half-written beside it."""
    ends = team.run(2, team.words("refused", parallel="fsdp"), whose=1, at=6, full=True)
    assert [ended.code for ended in ends] == [1, 1]
    assert "step-8: File too large" in ends[0].told
    assert "checkpoint 5 is whole" in ends[0].told
    assert ends[1].told == ""
    run = team.directory("refused")
    assert sorted(folder.name for folder in run.checkpoints.iterdir()) == ["step-4", "step-5"]
    assert verify_run(run).ok


def broken(cut: Path, name: str) -> tuple[RunDirectory, Path]:
    run = copied(cut, name)
    return run, run.checkpoint(5) / shards_of(read_json(run.checkpoint(5) / MANIFEST))[1]


def test_a_part_that_is_missing_changed_or_too_much_is_one_line(cut):
    run, part = broken(cut, "missing")
    part.unlink()
    with pytest.raises(CheckpointError, match=f"cannot be read: .*{part.name}"):
        load_checkpoint(run, 5)
    assert f"checkpoints/step-5/{part.name} is missing" in map(str, verify_run(run).faults)

    run, part = broken(cut, "changed")
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{part.name} is damaged: its SHA-256 is not the manifest's"):
        load_checkpoint(run, 5)
    assert f"checkpoints/step-5/{part.name} is damaged" in str(verify_run(run).faults[0])

    run, part = broken(cut, "foreign")
    shutil.copy(part, part.with_name("more.safetensors"))
    with pytest.raises(CheckpointError, match=r"more\.safetensors does not belong into it"):
        load_checkpoint(run, 5)


def test_parts_that_do_not_cover_a_tensor_are_refused(cut):
    """A manifest that vouches for half of the parts is no checkpoint, however right its hashes are."""
    run, part = broken(cut, "half")
    part.unlink()
    folder = run.checkpoint(5)
    digests = {name: digest for name, digest in read_json(folder / MANIFEST).items() if name != part.name}
    (folder / MANIFEST).write_text(to_json(digests))
    with pytest.raises(CheckpointError, match=r"(hold [\d,]+ of the [\d,]+ numbers of|is missing|has shape)"):
        load_checkpoint(run, 5)


@pytest.mark.parametrize(
    "info",
    [None, "{", "[]", "{}", '{"lm_head.weight": {}}', '{"lm_head.weight": {"saved_offsets": ["a", {}]}}', "[" * 5_000],
)
def test_a_header_of_somebody_else_is_one_line(cut, tmp_path, info):
    """Right hashes over wrong words: which rows a file holds is a stranger's until they fit."""
    run, part = broken(cut, f"header-{tmp_path.name}")
    metadata = {} if info is None else {"DCP_SHARDING_INFO": info}
    save_file(load_file(part), part, metadata=metadata)
    digests = {**read_json(part.parent / MANIFEST), part.name: sha256_file(part)}
    (part.parent / MANIFEST).write_text(to_json(digests))
    with pytest.raises(CheckpointError, match="cannot be read") as refused:
        load_checkpoint(run, 5)
    assert "\n" not in str(refused.value)


def test_resume_says_in_one_line_what_it_passed_over(team, cut):
    run, part = broken(cut, "passed")
    part.write_bytes(b"")
    ends = team.run(2, ["resume", str(run.path)])
    assert [ended.code for ended in ends] in ([0, 0], [1, 1]), [ended.told for ended in ends]
    assert f"{part.name} is damaged" in ends[0].told
    assert "Traceback" not in "".join(ended.told for ended in ends)


def test_a_model_without_layers_is_refused(team):
    with pytest.raises(ConfigError, match="parallel=fsdp divides layers, and a model=bigram has none"):
        RunConfig.from_preset("modern", "bigram").with_settings({"parallel": "fsdp"})
    ends = team.run(2, team.words("table", model="bigram", parallel="fsdp"))
    assert ends[0].code == 2
    assert ends[0].told.count("\n") == 1


def test_one_process_alone_holds_it_all(team):
    run = team.train(1, "alone", parallel="fsdp")
    assert bits(run)["told"] == told(team.train(1, "alone-too"))
    assert sha256_file(run.checkpoint(12) / "model.safetensors") == sha256_file(
        team.directory("alone-too").checkpoint(12) / "model.safetensors"
    )
