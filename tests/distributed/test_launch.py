"""torchrun begins the ranks, and begins them anew: with its own command, and with `--nproc`."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from clearhead.cli.arguments import _without
from clearhead.data.grammar import grammar_text
from clearhead.runs.directory import RunDirectory
from clearhead.runs.verification import verify_run
from conftest import POEM
from distributed.team import FLAGS, HANGS, bits, free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ranks are found in /proc")

HERE = Path(__file__).parent
RESTARTED = ("restart", "processes train")
"""Words of notices that an undisturbed run does not have."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("launched")
    (made / "poem.txt").write_text(POEM * 29, encoding="utf-8")
    return made


def train(folder: Path, name: str, **flags: object) -> list[str]:
    settings = [str(word) for flag, value in {**FLAGS, **flags}.items() for word in (f"--{flag}", value)]
    return ["train", str(folder / "poem.txt"), "--out", str(folder / "runs"), "--name", name, *settings]


def begin(folder: Path, words: Sequence[object]) -> subprocess.Popen[str]:
    told = {**os.environ, "OMP_NUM_THREADS": "1", "CLEARHEAD_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=told,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code and what it said; a launch that hangs is an error, and killed with its ranks."""
    try:
        said, complained = process.communicate(timeout=2 * HANGS)
    except subprocess.TimeoutExpired:
        for pid in ranks_of(process.pid).values():
            os.kill(pid, signal.SIGKILL)
        process.kill()
        raise
    return process.returncode, said, complained


def ranks_of(launcher: int) -> dict[int, int]:
    """The pids of a launcher's ranks, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
            words = (entry / "environ").read_bytes().split(b"\0") if parent == launcher else []
            found |= {int(word[5:]): int(entry.name) for word in words if word.startswith(b"RANK=")}
    return found


def test_the_ranks_get_the_words_that_are_not_about_them():
    words = ["a.txt", "--nproc", "2", "--seed", "3", "--max-restarts=1", "--name", "nproc"]
    assert _without(words, {"nproc", "max_restarts"}) == ["a.txt", "--seed", "3", "--name", "nproc"]


def test_torchrun_restarts_from_the_last_checkpoint_and_says_so(folder):
    """The command as one types it; rank 1 is killed in step 7 of the first attempt."""
    options = ["--nproc_per_node", 2, "--max_restarts", 1, "--rdzv_id", "one", "--rdzv_backend", "c10d"]
    options += ["--rdzv_endpoint", f"127.0.0.1:{free_port()}"]
    words = [HERE / "ranking.py", folder, 7, 1, *train(folder, "restarted", dropout=0.2)]
    code, said, complained = end(begin(folder, ["torch.distributed.run", *options, *words]))
    assert code == 0, complained
    assert "note: restart 1 by torchrun: going on from step" in said
    run = RunDirectory(folder / "runs" / "restarted")
    assert [run.path] == list(run.path.parent.glob("restarted*")), "no second run was begun"
    assert verify_run(run).ok
    assert said.rstrip().endswith(str(run.path))


def test_nproc_is_one_command_and_its_errors_are_one_line(folder):
    code, said, complained = end(begin(folder, ["clearhead", *train(folder, "few", batch_size=2), "--nproc", 4]))
    assert (code, said) == (2, "")
    assert complained == "clearhead: batch_size=2 leaves some of 4 processes nothing; try --batch_size 4\n"


@pytest.mark.slow
def test_a_signal_to_the_launcher_saves_and_leaves(folder):
    process = begin(folder, ["clearhead", *train(folder, "stopped", max_iters=100_000, dev_iters=0), "--nproc", 2])
    events = RunDirectory(folder / "runs" / "stopped").events_file
    while not (events.exists() and '"stepped"' in events.read_text()):
        assert process.poll() is None, end(process)
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    code, _, complained = end(process)
    assert code == 130
    assert "go on with: clearhead resume" in complained
    assert RunDirectory(events.parent).read_events()[-1]["reason"] == "interrupted"
    assert verify_run(RunDirectory(events.parent)).ok


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_rank_killed_at_any_moment_never_hangs_and_the_run_ends_the_same(folder, parallel):
    """20 launches, in each a rank killed at a moment of its own: reading, starting, stepping, saving, ending."""
    flags = {"dropout": 0.2, "max_iters": 60, "save_interval": 5, "parallel": parallel}
    begun = time.monotonic()
    assert end(begin(folder, ["clearhead", *train(folder, f"whole-{parallel}", **flags), "--nproc", 2]))[0] == 0
    whole, seconds = RunDirectory(folder / "runs" / f"whole-{parallel}"), time.monotonic() - begun
    draw, restarted = random.Random(9), 0
    for number in range(20):
        words = train(folder, f"shot-{parallel}-{number}", **flags)
        process = begin(folder, ["clearhead", *words, "--nproc", 2, "--max_restarts", 3])
        time.sleep(draw.uniform(0.3, 1.0) * seconds)
        if ranks := ranks_of(process.pid):
            with suppress(ProcessLookupError):
                os.kill(draw.choice(list(ranks.values())), signal.SIGKILL)
        code, said, complained = end(process)
        assert code == 0, (number, said, complained)
        run = RunDirectory(folder / "runs" / f"shot-{parallel}-{number}")
        assert bits(run, *RESTARTED) == bits(whole, *RESTARTED), number
        restarted += any("restart 1" in event.get("message", "") for event in run.read_events())
    assert restarted >= 5, "some kills came while there was a run to go on with"


@pytest.mark.slow
def test_two_agents_meet_and_begin_anew_together(folder):
    """Two machines, as far as torchrun knows: the second one's process is killed in step 7, and both go on."""
    options = ["--nnodes", 2, "--nproc_per_node", 1, "--max_restarts", 1, "--rdzv_id", "two", "--rdzv_backend", "c10d"]
    options += ["--rdzv_endpoint", f"127.0.0.1:{free_port()}", "--local_addr", "127.0.0.1"]
    words = [HERE / "ranking.py", folder, 7, 1, *train(folder, "met", dropout=0.2)]
    agents = [begin(folder, ["torch.distributed.run", *options, *words]) for _ in range(2)]
    ends = [end(agent) for agent in agents]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert sum("note: restart 1 by torchrun: going on from step" in said for _, said, _ in ends) == 1
    assert [p.name for p in (folder / "runs").glob("met*")] == ["met"], "no second run was begun"
    assert verify_run(RunDirectory(folder / "runs" / "met")).ok


@pytest.mark.slow
def test_two_agents_with_a_static_meeting_point(folder):
    words = [*train(folder, "static"), "--precision", "float64"]
    options = ["--nnodes", 2, "--nproc_per_node", 1, "--master_addr", "127.0.0.1", "--master_port", free_port()]
    agents = [
        begin(folder, ["torch.distributed.run", *options, "--node_rank", node, "-m", "clearhead", *words])
        for node in range(2)
    ]
    assert [end(agent)[0] for agent in agents] == [0, 0]
    assert verify_run(RunDirectory(folder / "runs" / "static")).ok


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_each_process_takes_the_memory_that_doctor_predicts(folder, parallel):
    """10.6 million parameters, whole and in parts: each rank's peak within a fifth of what was predicted for it."""
    text = folder / "long.txt"
    text.write_text((grammar_text() * 20)[:800_000], encoding="utf-8")
    shape = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 128, "batch_size": 4, "accumulation": 1}
    short = {"max_iters": 4, "eval_interval": 3, "eval_iters": 1, "save_interval": 2, "dev_iters": 0}
    flags = {**shape, **short, "optimizer": "adamw", "precision": "float32", "parallel": parallel, "device": "cpu"}
    words = [str(text), *(str(word) for flag, value in flags.items() for word in (f"--{flag}", value))]
    told = end(begin(folder, ["clearhead", "doctor", "--run", *words, "--nproc", 2, "--json"]))[1]
    memory = json.loads(told)["memory"]
    words = ["train", *words, "--out", folder / "runs", "--name", f"weighed-{parallel}"]
    options = ["--standalone", "--nproc_per_node", 2]
    code, _, complained = end(
        begin(folder, ["torch.distributed.run", *options, HERE / "ranking.py", folder, -1, -1, *words])
    )
    assert code == 0, complained
    phases, each = memory["phases"], memory["each"]
    first = max(phases["training"] - each, phases["judging"])
    for rank, predicted in enumerate((first, each)):
        assert predicted == pytest.approx(int((folder / f"peak-{rank}").read_text()), rel=0.2), rank
    if parallel == "fsdp":  # what is held: weights and two moments
        assert memory["parts"]["weights"] + memory["parts"]["moments"] == pytest.approx(6 * 10.6e6, rel=0.02)
