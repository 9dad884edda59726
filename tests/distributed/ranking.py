"""What is called in a child before its command: it becomes a rank, and one of them comes to harm."""

import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

SAMPLED = 4
"""Tokens of a sample."""


def rank(rank: int, size: int, port: int, **harm: Any) -> None:
    """Tell the process what torchrun would tell it; see `suffer` for the harm."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()})
    from clearhead.training import judging, parallel

    judging.SAMPLE_TOKENS = SAMPLED
    parallel.TIMEOUT = timedelta(seconds=harm.pop("patience", 60))
    if harm.pop("whose", rank) == rank:
        suffer(**harm)


def suffer(
    at: int = -1,
    kill: int | None = None,
    nan: bool = False,
    stand: bool = False,
    full: bool = False,
    witness: str = "",
) -> None:
    """At a step: a signal to itself, a loss that is no number, standing still, or no file longer than 4 kB any more.

    `witness` is a folder for what the rank saw: its batch, hashes, and what it said to others about gradients.
    """
    from clearhead.training.trainer import Trainer

    real, end, said = Trainer.gradients, Trainer.update, dict[str, Any]()

    def gradients(trainer: Trainer) -> Any:
        if trainer.progress.step == at:
            if kill is not None:
                os.kill(os.getpid(), kill)
            if full:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            if stand:
                time.sleep(8)
            if nan:
                trainer.model.register_forward_hook(lambda _, __, out: out._replace(loss=out.loss * math.nan))
        if not witness:
            return real(trainer)
        with overhearing() as heard:
            found = real(trainer)
        for what, name in {"sums": "_reduce_scatter_base_", "gathers": "_allgather_base_"}.items():
            sizes = [size for operation, size in heard if name in operation]
            said[what], said[f"{what}_bytes"] = len(sizes), sum(sizes)
        return found

    def update(trainer: Trainer, loss: Any) -> Any:
        made = end(trainer, loss)
        if witness:
            bear_witness(trainer, Path(witness), said)
        return made

    Trainer.gradients, Trainer.update = gradients, update  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def overhearing() -> Iterator[list[tuple[str, int]]]:
    """The operations by which ranks talk to each other inside the block, each with the bytes of its largest tensor."""
    from torch.utils._python_dispatch import TorchDispatchMode

    heard: list[tuple[str, int]] = []

    class Listening(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.namespace == "c10d":
                heard.append((func.name(), max((t.nbytes for t in args if hasattr(t, "nbytes")), default=0)))
            return func(*args, **(kwargs or {}))

    with Listening():
        yield heard


def bear_witness(trainer: Any, folder: Path, said: dict[str, Any]) -> None:
    """Write what this rank holds after a step: numbers and a digest of weights and moments, and the batch it had."""
    import hashlib

    from clearhead.optim.sharded import local
    from clearhead.runs.checkpoint import optimizer_tensors

    held = {**trainer.model.state_dict(), **optimizer_tensors(trainer.optimizer, trainer.model)}
    digest = hashlib.sha256()
    for name in sorted(held):
        digest.update(local(held[name]).detach().cpu().contiguous().numpy().tobytes())
    step = trainer.progress.step
    x, y = trainer.feed.training(step - 1)
    seen = {**said, "digest": digest.hexdigest(), "x": x.tolist(), "y": y.tolist()}
    seen |= {"numbers": sum(local(weight).numel() for weight in trainer.model.parameters())}
    (folder / f"{step}-{trainer.ranks.size}-{trainer.ranks.rank}.json").write_text(json.dumps(seen))


def main() -> None:
    """`python ranking.py FOLDER STEP RANK WORDS`: the command as torchrun runs it; the rank is killed once.

    The most memory that each rank has held is written down when it ends.
    """
    folder, at, whose, *words = sys.argv[1:]
    from clearhead.training import judging

    judging.SAMPLE_TOKENS = SAMPLED
    if int(whose) == int(os.environ["RANK"]) and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        suffer(at=int(at), kill=signal.SIGKILL)
    (Path(folder) / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    from clearhead.cli.main import main
    from clearhead.training.memory import peak_resident

    code = main(words)
    (Path(folder) / f"peak-{os.environ['RANK']}").write_text(str(peak_resident()))
    sys.exit(code)


if __name__ == "__main__":
    main()
