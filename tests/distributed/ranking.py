"""What is called in a child before its command: it becomes a rank, and one of them comes to harm."""

import json
import math
import os
import signal
import sys
import time
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


def suffer(at: int = -1, kill: int | None = None, nan: bool = False, stand: bool = False, witness: str = "") -> None:
    """At a step: a signal to itself, a loss that is no number, or standing still. `witness` is a folder for hashes."""
    from clearhead.training.trainer import Trainer

    real, end = Trainer.gradients, Trainer.update

    def gradients(trainer: Trainer) -> Any:
        if trainer.progress.step == at:
            if kill is not None:
                os.kill(os.getpid(), kill)
            if stand:
                time.sleep(8)
            if nan:
                trainer.model.register_forward_hook(lambda _, __, out: out._replace(loss=out.loss * math.nan))
        return real(trainer)

    def update(trainer: Trainer, loss: Any) -> Any:
        made = end(trainer, loss)
        if witness:
            bear_witness(trainer, Path(witness))
        return made

    Trainer.gradients, Trainer.update = gradients, update  # pyright: ignore[reportAttributeAccessIssue]


def bear_witness(trainer: Any, folder: Path) -> None:
    """Write what this rank holds after a step: a digest of all weights and moments, and the batch it had."""
    import hashlib

    from clearhead.runs.checkpoint import optimizer_tensors

    held = {**trainer.model.state_dict(), **optimizer_tensors(trainer.optimizer, trainer.model)}
    digest = hashlib.sha256()
    for name in sorted(held):
        digest.update(held[name].detach().cpu().contiguous().numpy().tobytes())
    step = trainer.progress.step
    x, y = trainer.feed.training(step - 1)
    seen = {"digest": digest.hexdigest(), "x": x.tolist(), "y": y.tolist()}
    (folder / f"{step}-{trainer.ranks.size}-{trainer.ranks.rank}.json").write_text(json.dumps(seen))


def main() -> None:
    """`python ranking.py FOLDER STEP RANK WORDS`: the command as torchrun runs it; the rank is killed once."""
    folder, at, whose, *words = sys.argv[1:]
    from clearhead.training import judging

    judging.SAMPLE_TOKENS = SAMPLED
    if int(whose) == int(os.environ["RANK"]) and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        suffer(at=int(at), kill=signal.SIGKILL)
    (Path(folder) / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    from clearhead.cli.main import main

    sys.exit(main(words))


if __name__ == "__main__":
    main()
