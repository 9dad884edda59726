"""Wall seconds from a command to a trained model, and that model's loss: ours, nanoGPT's, transformers'.

    python benchmarks/time_to_loss.py --nanogpt PATH [--corpus FILE] [--repeats N] [--json] [-- FLAGS]

Every side runs in a process of its own, whole: start, reading, training, saving, for ours the ladder too, with nothing
cached. nanoGPT runs its train.py with the settings its README gives for a processor; transformers trains GPT-2 of the
same shape with its Trainer on the same batches of windows, steps and rates, and never evaluates. Each model is then
scored on the same full validation split, outside of its time. Repeats alternate the order; ours and transformers' take
a new seed each time (train.py has but one).
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nanogpt
import numpy as np
from machine import PYTHON, arguments, clearhead, command, facts, show
from nanogpt import SHAPE, TRAINING
from torch.nn import functional as F

from clearhead.config import RunConfig
from clearhead.data.named import DOWNLOADABLE, find_local
from clearhead.data.prepare import Prepared, prepare

OURS = (
    *("--batch-size", "16", "--max-iters", "150", "--dev-iters", "50", "--warmup-iters", "5", "--decay-iters", "130"),
    *("--eval-interval", "150", "--save-interval", "150", "--eval-iters", "1"),
)
"""What `clearhead train` is told; written with hyphens, as the page shows them."""
STEPS = 2_000
"""Of nanoGPT and of transformers."""
FIRST_SEED = 1337
MOST_PARAMETERS, MOST_CONTEXT = 850_000, 64
"""A larger model, or one that sees more, would be another comparison."""


class Outcome(NamedTuple):
    seconds: float
    """Wall seconds of the whole process."""
    val_nats_per_token: float
    """Over the full validation split, the neural model alone."""
    parameters: int


def measure(
    corpus: Path, checkout: Path, repeats: int, flags: Sequence[str] = OURS, steps: int = STEPS
) -> dict[str, Any]:
    """Figures of all sides. SystemExit when transformers or nanoGPT is missing, or a side fails."""
    check_transformers()
    prepared = prepare(RunConfig(), [str(corpus)])
    sides: dict[str, Callable[[Path, int], Outcome]] = {
        "nanoGPT": lambda folder, _: train_nanogpt(prepared, checkout, steps, folder),
        "clearhead train": lambda folder, seed: train_ours(corpus, flags, seed, folder),
        "transformers": lambda folder, seed: train_transformers(prepared, steps, seed, folder),
    }
    outcomes: dict[str, list[Outcome]] = {side: [] for side in sides}
    for repeat in range(repeats):
        for side in list(sides)[:: -1 if repeat % 2 else 1]:
            with tempfile.TemporaryDirectory() as folder:
                outcomes[side].append(sides[side](Path(folder), FIRST_SEED + repeat))
    settings = {"flags_of_clearhead_train": " ".join(flags), "repeats": repeats, "steps_of_the_others": steps}
    return {**settings, "runs": rows(outcomes)}


def check_transformers() -> None:
    """SystemExit before anything is measured when transformers or what its Trainer needs is missing."""
    try:
        import accelerate
        from transformers import GPT2LMHeadModel
    except ImportError as error:
        raise SystemExit(f"transformers cannot be measured: {error}; pip install 'clearhead[test]'") from None
    del accelerate, GPT2LMHeadModel


def train_nanogpt(prepared: Prepared, checkout: Path, steps: int, folder: Path) -> Outcome:
    told = nanogpt.train(prepared, checkout, steps, folder)
    return Outcome(told["seconds"], told["val_nats_per_token"], told["parameters"])


def train_ours(corpus: Path, flags: Sequence[str], seed: int, folder: Path) -> Outcome:
    """`clearhead train`; SystemExit when its GPT is not small enough to be compared."""
    words = ("--device", "cpu", "--seed", str(seed), *flags, "--out", str(folder / "runs"), "--json")
    told, seconds = clearhead("train", str(corpus), *words, env={"CLEARHEAD_CACHE": str(folder / "cache")})
    rung = next(rung for rung in json.loads(told)["ladder"]["rungs"] if rung["name"] == "gpt")
    if rung["parameters"] > MOST_PARAMETERS or rung["context"] > MOST_CONTEXT:
        raise SystemExit(
            f"ours has {rung['parameters']:,} parameters and a context of {rung['context']}; "
            f"compare at most {MOST_PARAMETERS:,} and {MOST_CONTEXT}"
        )
    return Outcome(seconds, rung["nats_per_token"], rung["parameters"])


def train_transformers(prepared: Prepared, steps: int, seed: int, folder: Path) -> Outcome:
    """gpt2_trainer.py in a process of its own; its model scored on our full split."""
    np.save(folder / "ids.npy", prepared.data.ids("counts"))
    settings = gpt2_settings(prepared.tokenizer.vocab_size, steps, seed)
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    script = Path(__file__).with_name("gpt2_trainer.py")
    _, seconds = command([PYTHON, "-P", str(script), str(folder)])  # -P: of this folder's modules it sees none

    from transformers import GPT2LMHeadModel  # takes seconds, and only this side needs it

    model = GPT2LMHeadModel.from_pretrained(folder / "model").eval()
    loss = nanogpt.full_split_loss(
        lambda x, y: F.cross_entropy(model(x).logits.flatten(0, 1), y.flatten()), prepared.data
    )
    return Outcome(seconds, loss, model.num_parameters())


def gpt2_settings(vocab_size: int, steps: int, seed: int) -> dict[str, dict[str, Any]]:
    """nanoGPT's shape and rates in the words of GPT2Config and TrainingArguments."""
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), SHAPE["dropout"])
    shape = {name: SHAPE[name] for name in ("n_layer", "n_head", "n_embd")}
    return {
        "model": {"vocab_size": vocab_size, "n_positions": SHAPE["block_size"], **shape, **dropout}
        | {"bos_token_id": None, "eos_token_id": None},
        "training": {
            "per_device_train_batch_size": TRAINING["batch_size"],
            "max_steps": steps,
            "learning_rate": TRAINING["learning_rate"],
            "lr_scheduler_type": "cosine",
            "warmup_steps": min(TRAINING["warmup_iters"], steps),
            "weight_decay": 0.1,
            "adam_beta2": TRAINING["beta2"],
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "seed": seed,
        },
    }


def rows(outcomes: Mapping[str, Sequence[Outcome]]) -> list[dict[str, Any]]:
    """A row for each side: medians over repeats; `ratio` is its seconds over nanoGPT's of the same repeat."""
    table = []
    for side, runs in outcomes.items():
        ratios = [run.seconds / other.seconds for run, other in zip(runs, outcomes["nanoGPT"], strict=True)]
        losses = [run.val_nats_per_token for run in runs]
        table.append(
            {
                "name": side,
                "seconds": round(statistics.median(run.seconds for run in runs), 1),
                "ratio": round(statistics.median(ratios), 4),
                "ratios": f"{min(ratios):.4f} .. {max(ratios):.4f}",
                "val_nats_per_token": round(statistics.median(losses), 4),
                "highest": round(max(losses), 4),
                "parameters": runs[0].parameters,
            }
        )
    return table


def main() -> int:
    parser = arguments("Seconds to a trained model and its loss: ours, nanoGPT's, transformers'.")
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--corpus", type=Path, help="one text file (default: shakespeare, where it is at hand)")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each side")
    parser.add_argument("--steps", type=int, default=STEPS, help="of nanoGPT and transformers")
    parser.add_argument("flags", nargs="*", default=OURS, help="after --: of `clearhead train`, in place of OURS")
    chosen = parser.parse_args()
    corpus = chosen.corpus or find_local(DOWNLOADABLE["shakespeare"])
    if corpus is None:
        raise SystemExit("shakespeare is not at hand; name a text with --corpus")
    figures = measure(corpus, chosen.nanogpt, chosen.repeats, chosen.flags, chosen.steps)
    if not chosen.json:
        for row in figures.pop("runs"):
            figures[row.pop("name")] = ", ".join(f"{name} {value}" for name, value in row.items())
    show({**figures, **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
