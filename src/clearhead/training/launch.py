"""One run, several processes: torchrun begins them, rank 0 prepares the run, the others follow it."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.errors import CheckpointError, CompleteError, ConfigError, RankLostError
from clearhead.runs.checkpoint import optimizer_tensors, restore_optimizer
from clearhead.runs.corpus import open_data
from clearhead.runs.directory import RunDirectory, all_runs
from clearhead.runs.records import read_json
from clearhead.runs.sharded import read_moments
from clearhead.runtime import choose_runtime, share_threads, world
from clearhead.training.budget import Budget
from clearhead.training.job import Job
from clearhead.training.parallel import Ranks, missing_nobody
from clearhead.training.progress import Progress
from clearhead.training.sharding import shards
from clearhead.training.trainer import Trainer


def check_alone() -> None:
    """ConfigError in a process that is one of several: who calls from a script would train once in each."""
    if world().size > 1:
        raise ConfigError("a script that torchrun begins is many; train with: torchrun -m clearhead train, or --nproc")


def launch(processes: int, words: Sequence[str], restarts: int) -> int:
    """Run `clearhead WORDS` in as many processes by torchrun, on this machine; the exit code.

    Where one fails, all are begun anew, at most `restarts` times.
    """
    if processes < 1 or restarts < 0:
        raise ConfigError(f"nproc={processes} and max_restarts={restarts} cannot be; give --nproc 2, or neither")
    share_threads(processes)

    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # rank 0 says what there is to say
    options = ["--standalone", f"--nproc_per_node={processes}", f"--max_restarts={restarts}"]
    try:
        torchrun.run(torchrun.parse_args([*options, "-m", "clearhead", *words]))
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0:
            raise RankLostError(
                f"process {rank} was ended by {failure.signal_name()}; to go on: clearhead resume --nproc {processes}"
            ) from None
        return failure.exitcode
    except SignalException as signalled:
        return 128 + signalled.sigval
    return 0


@dataclass(frozen=True)
class Orders:
    """What the others need to know of the run that rank 0 has prepared."""

    run: Path
    config: RunConfig
    kind: str
    shape: dict[str, Any]
    """Of the model; its weights come with DDP."""
    progress: Progress
    saved: Progress | None
    """What lies on the disk: all save, or nobody does."""
    budget: Budget | None
    first_plan: int | None


Make = Callable[[RunDirectory | None], Job]
"""From the run that this launch has begun before it was restarted, None where there is none, to a job."""


def lead(make: Make, out: Path) -> Job:
    """The job that `make` makes on rank 0, ready on every rank; where there is one process, simply that job.

    SystemExit on the others where rank 0 has nothing to train with them, or has an error to tell.
    """
    here = world()
    ranks = Ranks.join(here)
    with missing_nobody():
        restarts = ranks.most(here.restarts)  # of two machines only that where a process has failed counts it
        job = _prepared(make, out, ranks, restarts) if ranks.first else _following(ranks)
        if job.trainer is None:
            return job
        if shards(job.trainer.train):
            job.trainer.join(ranks)
            _read_moments(job.trainer)
        else:
            _share_moments(job.trainer, ranks)
            job.trainer.join(ranks)
    if restarts:
        job.notices.append(f"restart {restarts} by torchrun: going on from step {job.trainer.progress.step}")
    return job


def begun_run(out: Path, launch: str | None) -> RunDirectory | None:
    """The newest run in `out` that a launch has begun."""
    for run in reversed(all_runs(out)):
        with suppress(CheckpointError):
            if read_json(run.environment_file).get("launch") == launch:
                return run
    return None


def _prepared(make: Make, out: Path, ranks: Ranks, restarts: int) -> Job:
    """Rank 0's job, of which the others are told."""
    try:
        job = make(begun_run(out, world().launch) if restarts else None)
    except BaseException as error:
        if isinstance(error, CompleteError):
            error.restarted = restarts > 0
        _dismiss(ranks, 0 if getattr(error, "restarted", False) else getattr(error, "exit_code", 1))
        raise
    trainer = job.trainer
    if trainer is None:
        _dismiss(ranks, 0)
        return job
    model, path = trainer.model, job.run.path.resolve()
    plan = (trainer.progress, trainer.saver.saved, trainer.budget, trainer.first_plan)
    ranks.share(Orders(path, trainer.config, model.kind, model.to_config(), *plan))
    return job


def _dismiss(ranks: Ranks, code: int) -> None:
    """Send the others away with an exit code, and wait until all have it: this process is where they meet."""
    ranks.share(code)
    ranks.most(0)


def _following(ranks: Ranks) -> Job:
    """The job of a rank that is told of it."""
    orders = ranks.share(None)
    if not isinstance(orders, Orders):
        ranks.most(0)
        raise SystemExit(orders)
    run = RunDirectory(orders.run)
    tokenizer = run.read_tokenizer()
    trainer = Trainer(
        orders.config,
        registry.resolve("models", orders.kind).from_config(orders.shape),
        tokenizer,
        open_data(run, tokenizer),
        run,
        choose_runtime(orders.config.train),
        budget=orders.budget,
        first_plan=orders.first_plan,
    )
    trainer.progress, trainer.saver.saved = orders.progress, orders.saved
    trainer.runtime.use_threads(orders.progress.threads)
    return Job(run, trainer, [])


def _share_moments(trainer: Trainer, ranks: Ranks) -> None:
    """Let every rank's optimizer know what rank 0's remembers."""
    moments = ranks.share_tensors(optimizer_tensors(trainer.optimizer, trainer.model))
    if not ranks.first:
        restore_optimizer(trainer.optimizer, trainer.model, moments)


def _read_moments(trainer: Trainer) -> None:
    """Let every rank's optimizer know its part of what the checkpoint remembers that the run goes on from."""
    if trainer.progress.step:
        moments = read_moments(trainer.run.checkpoint(trainer.progress.step), trainer.model)
        restore_optimizer(trainer.optimizer, trainer.model, moments)
