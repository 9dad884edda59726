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
from clearhead.runtime import choose_runtime, share_threads, world
from clearhead.training.budget import Budget
from clearhead.training.job import Job
from clearhead.training.parallel import Ranks, missing_nobody
from clearhead.training.progress import Progress
from clearhead.training.trainer import Trainer


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
    budget: Budget | None
    first_plan: int | None


def lead(make: Callable[[], Job]) -> Job:
    """The job that `make` makes on rank 0, ready on every rank; where there is one process, simply that job.

    SystemExit on the others where rank 0 has nothing to train with them, or has an error to tell.
    """
    here = world()
    ranks = Ranks.join(here)
    with missing_nobody():
        job = _prepared(make, ranks) if ranks.first else _following(ranks)
        assert job.trainer is not None or ranks.first
        if job.trainer is not None:
            _share_moments(job.trainer, ranks)
            job.trainer.join(ranks)
    if here.restarts and job.trainer is not None:
        job.notices.append(f"restart {here.restarts} by torchrun: going on from step {job.trainer.progress.step}")
    return job


def begun_run(out: Path) -> RunDirectory | None:
    """The run that this launch has begun in `out` before it was restarted; None where there is none."""
    here = world()
    for run in reversed(all_runs(out)) if here.restarts else ():
        with suppress(CheckpointError):
            if read_json(run.environment_file).get("launch") == here.launch:
                return run
    return None


def _prepared(make: Callable[[], Job], ranks: Ranks) -> Job:
    try:
        job = make()
    except BaseException as error:
        # A restart of what had come to its end is no failure: rank 0 has only to show it.
        ranks.share(0 if isinstance(error, CompleteError) and world().restarts else getattr(error, "exit_code", 1))
        raise
    trainer = job.trainer
    if trainer is None:
        ranks.share(0)
        return job
    ranks.share(
        Orders(
            job.run.path.resolve(),
            trainer.config,
            trainer.model.kind,
            trainer.model.to_config(),
            trainer.progress,
            trainer.budget,
            trainer.first_plan,
        )
    )
    return job


def _following(ranks: Ranks) -> Job:
    orders = ranks.share(None)
    if not isinstance(orders, Orders):
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
    trainer.progress = orders.progress
    trainer.runtime.use_threads(orders.progress.threads)
    return Job(run, trainer, [])


def _share_moments(trainer: Trainer, ranks: Ranks) -> None:
    """Let every rank's optimizer know what rank 0's remembers."""
    moments = ranks.share_tensors(optimizer_tensors(trainer.optimizer, trainer.model))
    if not ranks.first:
        restore_optimizer(trainer.optimizer, trainer.model, moments)
