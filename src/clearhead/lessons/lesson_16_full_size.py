"""Lesson 16: the lecture's full configuration on this machine."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Part, Quote, Say, Table
from clearhead.lessons.words import times

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.config import RunConfig
    from clearhead.evaluation.ladder import Ladder
    from clearhead.lessons.desk import Desk
    from clearhead.training.weighing import Tensors

SETTINGS: dict[str, Any] = {
    "n_layer": 6,
    "n_head": 6,
    "n_embd": 384,
    "block_size": 256,
    "batch_size": 64,
    "dropout": 0.2,
    "max_iters": 5_000,
    "learning_rate": 3e-4,
}
"""The lecture's last."""
LECTURE = 1.48
"""The validation loss that the lecture shows for it, in nats per character of tiny Shakespeare."""
PARTS = 16
"""A step is measured on this share of its windows, and computed in as many parts to spare memory."""
SECONDS = 20
"""Of the run that is made instead."""

CODE = """
import time
import torch
from torch import nn

n_layer, n_head, n_embd, block_size, batch_size, max_iters = 6, 6, 384, 256, 64, 5000
block = nn.TransformerEncoderLayer(n_embd, n_head, 4 * n_embd, dropout=0.2, batch_first=True, norm_first=True)
mask = nn.Transformer.generate_square_subsequent_mask(block_size)
x = torch.randn(batch_size // 16, block_size, n_embd)  # a sixteenth of a batch
block(x, src_mask=mask).sum().backward()  # warms up
begun = time.perf_counter()
block(x, src_mask=mask).sum().backward()
seconds = time.perf_counter() - begun
hours = max_iters * 16 * n_layer * seconds / 3600
print(f"{sum(p.numel() for p in block.parameters()):,} parameters a block; {max_iters:,} steps: {hours:.2f} hours")
"""


@dataclass(frozen=True)
class _Full:
    """The lecture's configuration here."""

    config: "RunConfig"
    part: float
    """Seconds of a part of a step."""
    tensors: "Tensors"
    in_parts: "Tensors"
    """The same where a step is computed in parts."""
    device: str
    """What was measured, in words."""

    @property
    def step(self) -> float:
        """Seconds of a whole step."""
        return PARTS * self.part

    @property
    def seconds(self) -> float:
        """Of all its steps."""
        return self.config.train.max_iters * self.step


def teach(desk: "Desk") -> Iterator[Part]:
    """Measure a part of a step of the full configuration; weigh it; then train what fits into a short while."""
    yield Say(
        "The lecture ends with a larger model: 6 blocks of 6 heads, 384 numbers wide, a context of 256, 64 windows a "
        f"step, dropout 0.2, 5,000 steps. It shows a validation loss of {LECTURE} nats on tiny Shakespeare, after "
        "about 15 minutes on a large GPU. Both figures are the lecture's own; nothing here measures them. What can be "
        "measured here is how long a step takes."
    )
    yield Ask("How many hours would its 5,000 steps take on this machine?", near=0.3)
    full = yield from _measure(desk)
    B = full.config.train.batch_size
    yield Answer(
        float(f"{full.seconds / 3600:.2g}"),
        f"{B // PARTS} of the {B} windows of a step take {full.part:.2f} s, forwards, backwards and update: times "
        f"{PARTS} for a step, times {full.config.train.max_iters:,}. Five such parts were measured, on "
        f"{full.device}; a busy machine is slower. Evaluations come on top.",
    )
    yield _memory(full)
    yield Say(f"What to run instead? A model that is planned for the time that you have. For {SECONDS} seconds:")
    run = yield from desk.planned(SECONDS)
    ladder = yield from desk.ladder(run)
    yield _beside(full, run)
    yield Bars("nats per character on validation text", tuple((r.name, r.nats_per_token) for r in ladder.rungs))
    yield Say("What it writes:")
    yield Quote((yield from desk.generate(run, "\n", max_new_tokens=200)))
    yield Say("With more time: --time 3m, --time 1h. A larger budget is planned for a larger model.")
    yield from _verdict(full, run, ladder, desk.is_shakespeare)


def _measure(desk: "Desk") -> Generator[Part, None, _Full]:
    import torch

    from clearhead.config import RunConfig
    from clearhead.runtime import choose_runtime
    from clearhead.training.draft import fit_block
    from clearhead.training.pace import measure_pace

    config, _ = fit_block(RunConfig.from_preset("lecture").with_settings(SETTINGS), desk.data)
    part = config.with_settings({"batch_size": config.train.batch_size // PARTS})
    runtime = choose_runtime(config.train)
    pace = measure_pace(part, desk.data, desk.tokenizer, runtime)
    threads = f" with {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    given = {"preset": "lecture", **SETTINGS}
    whole = yield from desk.doctor(config, given)
    in_parts = yield from desk.doctor(config.with_settings({"accumulation": PARTS}), given | {"accumulation": PARTS})
    device = runtime.device_name + threads * (runtime.device.type == "cpu")
    return _Full(config, pace.step_seconds, whole, in_parts, device)


def _memory(full: _Full) -> Table:
    from clearhead.training.fitting import size

    rows = [
        (name, *map(size, amounts))
        for name, *amounts in (
            ("weights", full.tensors.weights, full.in_parts.weights),
            ("gradients", full.tensors.gradients, full.in_parts.gradients),
            ("moments of AdamW", full.tensors.moments, full.in_parts.moments),
            ("activations, logits", *(t.step.all - t.gradients for t in (full.tensors, full.in_parts))),
        )
    ]
    return Table.of(f"memory | a step at once | in {PARTS} parts", rows, "tensors alone; Python and torch come on top")


def _beside(full: _Full, run: "Run") -> Table:
    ours, theirs = run.config, full.config
    rows = [
        (name, f"{getattr(theirs.architecture, name):,}", f"{getattr(ours.architecture, name):,}")
        for name in ("n_layer", "n_head", "n_embd")
    ]
    rows += [
        (name, f"{getattr(theirs.train, name):,}", f"{getattr(ours.train, name):,}")
        for name in ("block_size", "batch_size", "max_iters", "dropout")
    ]
    rows += [
        ("parameters", f"{full.tensors.parameters:,}", f"{run.model.num_parameters():,}"),
        ("times that the text is read", f"{_epochs(theirs, run):.1f}", f"{_epochs(ours, run):.1f}"),
    ]
    return Table.of("what | the lecture's | planned here", rows)


def _epochs(config: "RunConfig", run: "Run") -> float:
    train = config.train
    return train.max_iters * train.batch_size * train.block_size / len(run.data.ids("train"))


def _verdict(full: _Full, run: "Run", ladder: "Ladder", shakespeare: bool) -> Iterator[Part]:
    from clearhead.training.console import duration
    from clearhead.training.fitting import size

    spent = run.directory.read_events()[-1]["seconds"]
    yield Claim(
        "time",
        full.seconds > spent,
        f"At the pace measured, 5,000 steps would take {duration(full.seconds)}. In the {duration(spent)} in which the "
        f"planned run made {run.config.train.max_iters:,} steps, the lecture's model would make "
        f"{spent / full.step:.1f}.",
        f"This machine is quick: 5,000 steps would take {duration(full.seconds)}, and there is no reason to wait.",
        note="the lecture's last script runs anywhere",
    )
    gpt, ngram, mixture = (ladder[name].nats_per_token for name in ("gpt", "ngram", "mixture"))
    lecture = f" The lecture shows {LECTURE} for its own." * shakespeare
    yield Claim(
        "small",
        gpt < ladder["bigram"].nats_per_token and mixture < ngram,
        f"A small model is no toy: planned for {SECONDS} seconds it reaches {gpt:.3f} nats per character on the whole "
        f"validation text (the counted bigram {ladder['bigram'].nats_per_token:.3f}), mixed with the n-gram "
        f"{mixture:.3f}.{lecture}",
        f"On this text the planned run reaches {gpt:.3f} nats per character, the counted bigram "
        f"{ladder['bigram'].nats_per_token:.3f}, the mixture {mixture:.3f} and the n-gram {ngram:.3f}.",
        note="without that size there is nothing to see",
    )
    whole, parts = (t.weights + t.moments + t.step.all for t in (full.tensors, full.in_parts))
    rest = full.tensors.step.all - full.tensors.gradients
    yield Claim(
        "memory",
        rest > full.tensors.weights + full.tensors.gradients + full.tensors.moments and parts < whole,
        f"{full.tensors.parameters:,} parameters are {size(full.tensors.weights)}, yet a step takes {size(whole)}: the "
        f"activations of {full.config.train.batch_size} x {full.config.train.block_size} places are kept for the way "
        f"back. Computed in {PARTS} parts the same batch takes {size(parts)}.",
        f"A step takes {size(whole)} here, in {PARTS} parts {size(parts)}.",
        note="a model needs as much memory as its weights",
    )
    ours, theirs = (_epochs(config, run) for config in (run.config, full.config))
    yield Claim(
        "epochs",
        theirs > ours,
        f"5,000 steps read the training text {theirs:.0f} times, {times(theirs, ours)} times as often as the planned "
        f"run, which reads it {ours:.1f} times. That is what the dropout of {full.config.train.dropout:g} is for; the "
        f"plan chose {run.config.train.dropout:g}.",
        f"5,000 steps read the training text {theirs:.0f} times, the planned run {ours:.0f} times.",
        note="a dropout of 0.2 belongs to every GPT",
    )


LESSON = Lesson(
    number=16,
    slug="full-size",
    title="The lecture's full configuration",
    question="The lecture's last model is much larger. Can I train it here, and do I have to?",
    teach=teach,
    code=CODE,
    views=("step", "loss"),
    needs=5_000,
    because="a plan needs a text that a model can be judged on",
)
