"""Several ranks train what one trains: the same batches, the same losses, and all of them stop together."""

import shutil
import signal
import sys
from collections.abc import Iterator

import pytest
import torch

from clearhead import registry
from clearhead.config import RunConfig, TrainConfig
from clearhead.data.prepare import prepare
from clearhead.errors import ConfigError
from clearhead.runs.records import read_json
from clearhead.runs.verification import verify_run
from clearhead.runtime import Runtime, world
from clearhead.training.feed import Feed
from clearhead.training.parallel import Ranks
from distributed.team import Team, bits, figures, told, witnesses

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked from a process that knows torch")


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with Team(tmp_path_factory.mktemp("ranks")) as made:
        yield made


@pytest.mark.parametrize("size", [2, 3, 4, 7])
@pytest.mark.parametrize("step", [0, 9])
def test_the_ranks_batches_are_the_batch(poem, size, step):
    """Also where a batch is not divisible, and where half of it is from dev (from step 8 on)."""
    data = prepare(RunConfig(), [str(poem)]).data
    train = TrainConfig(batch_size=7, block_size=16, max_iters=10, dev_iters=2)
    whole = Feed(data, train, Runtime("cpu", "float32"))
    parts = [Feed(data, train, whole.runtime, Ranks(rank, size)) for rank in range(size)]
    for of_all, of_each in zip(whole.training(step), zip(*(p.training(step) for p in parts), strict=True), strict=True):
        assert torch.equal(torch.cat(of_each), of_all)
    assert sum(part.share for part in parts) == pytest.approx(1)


def assert_alike(team: Team, sizes: tuple[int, ...], name: str, **flags: object) -> None:
    alone = figures(team.train(1, f"{name}-1", precision="float64", **flags))
    for size in sizes:
        together = figures(team.train(size, f"{name}-{size}", precision="float64", **flags))
        assert [what for what, _ in together] == [what for what, _ in alone]
        for (what, a), (_, b) in zip(alone, together, strict=True):
            assert b == pytest.approx(a, rel=1e-9), f"{what} of {size} ranks"


def test_one_two_and_four_ranks_learn_the_same(team):
    assert_alike(team, (2, 4), "alike", optimizer="muon")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["lecture", "gpt2", "modern"])
@pytest.mark.parametrize("optimizer", registry.names("optimizers"))
def test_ranks_learn_the_same_with_every_preset_and_optimizer(team, preset, optimizer):
    assert_alike(team, (2, 3, 4), f"{preset}-{optimizer}", preset=preset, optimizer=optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["bigram", "mixture"])
def test_ranks_learn_the_same_with_other_models(team, model):
    assert_alike(team, (2,), model, model=model)


def test_every_rank_holds_the_same_bits_and_one_part_of_the_batch(team, tmp_path):
    words = team.words("witnessed", dropout=0.2, optimizer="muon")
    for ended in team.run(2, words, witness=str(tmp_path)):
        assert ended.code == 0, ended.told
    seen = witnesses(tmp_path, 2)
    assert list(seen) == list(range(1, 13))
    for ranks in seen.values():
        assert len(ranks) == 2
        assert len({rank["digest"] for rank in ranks}) == 1
        assert [len(rank["x"]) for rank in ranks] == [3, 3]
    assert len({ranks[0]["digest"] for ranks in seen.values()}) == 12, "every step moved the weights"


def test_rank_0_alone_tells_and_remembers_how_many_there_were(team):
    first, second = team.run(2, team.words("told"))
    assert first.told.rstrip().endswith(str(team.directory("told").path))
    assert second.told == ""
    assert read_json(team.directory("told").environment_file)["world_size"] == 2
    assert verify_run(team.directory("told")).ok
    assert [e["event"] for e in team.directory("told").read_events()].count("started") == 1


def test_the_same_ranks_end_with_the_same_bits(team):
    runs = [team.train(2, f"again-{k}", dropout=0.2) for k in range(2)]
    assert bits(runs[0]) == bits(runs[1])


def killed_and_resumed(team: Team, size: int, whose: int, at: int, name: str) -> None:
    """A rank is killed in a step; the others end by themselves; as many resume, to the bits of an undisturbed run."""
    whole = f"whole-{size}"
    if not team.directory(whole).path.exists():
        team.train(size, whole, dropout=0.2)
    ends = team.run(size, team.words(name, dropout=0.2), whose=whose, at=at, kill=signal.SIGKILL)
    assert ends[whose].code == -signal.SIGKILL
    assert all(ended.code == 1 for rank, ended in enumerate(ends) if rank != whose), [e.told for e in ends]
    assert not any("Traceback" in ended.told for ended in ends), [e.told for e in ends]
    if whose:
        assert "another process of this run ended" in ends[0].told
    for ended in team.run(size, ["resume", str(team.directory(name).path)]):
        assert ended.code == 0, ended.told
    assert bits(team.directory(name)) == bits(team.directory(whole))


@pytest.mark.parametrize(("whose", "at"), [(1, 6), (0, 9)])
def test_a_killed_rank_ends_the_others_and_a_resume_has_the_same_bits(team, whose, at):
    killed_and_resumed(team, 2, whose, at, f"killed-{whose}-{at}")


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 12))
def test_four_ranks_killed_at_every_step_end_with_the_same_bits(team, at):
    """With more than two ranks the order of a sum shows: it must not depend on when the process began."""
    killed_and_resumed(team, 4, at % 4, at, f"four-{at}")


def test_a_loss_that_is_no_number_on_one_rank_stops_all_with_one_message(team):
    ends = team.run(2, team.words("diverged"), whose=1, at=6, nan=True)
    assert [ended.code for ended in ends] == [1, 1]
    assert "loss nan at step 6: stopped before the update, the last good step is 5" in ends[0].told
    assert ends[1].told == ""
    run = team.directory("diverged")
    assert run.steps()[-1] == 5
    assert [event["event"] for event in run.read_events()].count("failed") == 1


@pytest.mark.parametrize("whose", [0, 1])
def test_a_signal_to_one_rank_stops_all_after_the_same_step(team, whose):
    name = f"signalled-{whose}"
    ends = team.run(2, team.words(name), whose=whose, at=5, kill=signal.SIGTERM)
    assert [ended.code for ended in ends] == [143 if whose == 0 else 130, 130], [e.told for e in ends]
    run = team.directory(name)
    assert run.read_events()[-1]["reason"] == "interrupted"
    assert run.steps()[-1] == run.read_events()[-1]["step"] == 6
    for ended in team.run(2, ["resume", str(run.path)]):
        assert ended.code == 0, ended.told


def test_a_rank_that_stands_still_is_not_waited_for_without_end(team):
    ends = team.run(2, team.words("still"), whose=1, at=3, stand=True, patience=2)
    assert ends[0].code == 1
    assert "another process of this run ended or stands still" in ends[0].told


def test_another_number_of_ranks_goes_on_and_says_so(team):
    words = team.words("moved", precision="float64")
    team.run(2, words, at=6, kill=signal.SIGKILL)
    run = team.directory("moved").path
    for size in (1, 4):
        copy = shutil.copytree(run, run.with_name(f"moved-{size}"))
        ends = team.run(size, ["resume", str(copy)])
        assert all(ended.code == 0 for ended in ends), [e.told for e in ends]
        assert f"{size} processes train instead of 2" in ends[0].told
    alone = team.train(1, "unmoved", precision="float64")
    for name in ("moved-1", "moved-4"):
        for (what, a), (_, b) in zip(figures(alone), figures(team.directory(name)), strict=True):
            assert b == pytest.approx(a, rel=1e-9), what
        assert [e for e in told(team.directory(name)) if "instead of 2" in e.get("message", "")]


def test_a_batch_with_fewer_samples_than_ranks_is_one_line_on_rank_0(team):
    ends = team.run(4, team.words("few", batch_size=2))
    assert [ended.code for ended in ends] == [2] * 4
    assert ends[0].told == "clearhead: batch_size=2 leaves some of 4 processes nothing; try --batch_size 4\n"
    assert [ended.told for ended in ends[1:]] == [""] * 3
    assert not team.directory("few").path.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--n_emb", "3"], "unknown argument '--n_emb'"),
        (["--n_embd", "many"], "n_embd"),
        (["--device", "cuda:1"], "device=cuda:1 is one GPU for 2 processes; leave it out, and each takes its own"),
    ],
)
def test_wrong_words_are_one_line_on_rank_0(team, words, said):
    first, second = team.run(2, [*team.words("wrong"), *words])
    assert (first.code, second.code, second.told) == (2, 2, "")
    assert said in first.told
    assert first.told.count("\n") == 1
    assert not team.directory("wrong").path.exists()


def test_a_world_that_cannot_be_is_one_line(monkeypatch):
    for told_rank, told_size in (("2", "2"), ("x", "2"), ("0", "-1")):
        monkeypatch.setenv("RANK", told_rank)
        monkeypatch.setenv("WORLD_SIZE", told_size)
        with pytest.raises(ConfigError, match=f"RANK={told_rank}, WORLD_SIZE={told_size}"):
            world()


def test_a_text_that_is_wrong_ends_all_ranks_at_once(team):
    ends = team.run(2, ["train", "nowhere.txt", "--out", str(team.out)])
    assert [ended.code for ended in ends] == [2, 2]
    assert "nowhere.txt" in ends[0].told
    assert ends[1].told == ""
