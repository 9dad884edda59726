"""What a run will take at most, of memory and of the disk, before it starts; and what to change where that is more than
there is.

Memory is the largest of three phases: reading and counting (done as `train` does it, so measured), training, and
judging at the end. What tensors take is counted (`weighing.py`); the rest is measured in this process, or a bound
whose figures stand here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.evaluation.ladder import MAX_ORDER, fit_ngram
from clearhead.evaluation.mixing import has_dev
from clearhead.models.counting import BYTES_PER_NGRAM, MAX_BYTES, named_arrays
from clearhead.models.ngram import ROW_CELLS
from clearhead.models.tally import CHUNK, HELD
from clearhead.runtime import Runtime
from clearhead.training.dividing import Part, share_of, weigh_part
from clearhead.training.draft import Draft, Text
from clearhead.training.memory import peak_resident, resident
from clearhead.training.sinks import MOST_STEP_LINES, TensorBoard
from clearhead.training.weighing import Taken, Tensors, build_model, file_size, make_step, weigh

STEPS, GAPS = 1.3, 2
"""Freed blocks of one size do not fill with others. Steps occupied 1.3 of what their tensors take (1.1 to 1.7 in twelve
shapes, presets and types, glibc 2.36); passes without gradients twice what the small blocks take, beside all blocks
(within a seventh in five shapes and vocabularies)."""
PARTS = 1.1
"""The same where ranks hold parts: then free memory goes back to the system at once (`Trainer`); 0.93 to 1.05 in two
shapes and optimizers."""
COUNTED, TRAINING, JUDGING = "reading and counting", "training", "judging"
"""The phases."""
TYPICAL = 400 << 20
"""Python, torch and what else is loaded, where the system does not tell how much that is."""
COUNTING, POSITIONS = 24, 24
"""Bytes for an n-gram, and for each of the positions looked at in one go, while n-grams are counted."""
ROWS = 4 * 8 * ROW_CELLS
"""What the n-gram works in while it scores."""
STEP_LINE, EVALUATION_LINES, SCALARS, SETTINGS = 170, 400, 160, 5_000
"""Bytes in events.jsonl of a step, and of an evaluation with its sample; in TensorBoard's file of a step; of a run's
configuration and the like."""
SMALL_FILES = 900
"""Bytes of state.json and manifest.json."""


@dataclass(frozen=True)
class Baseline:
    """Main memory of a process that is about to train, in bytes."""

    now: int
    most: int
    """So far."""
    measured: bool


@dataclass(frozen=True)
class Disk:
    """Bytes in files."""

    tokens: int
    """Of the token cache, which lies outside the run, and is there already."""
    checkpoint: int
    checkpoints: int
    """Not bytes: the most that lie there at one time, the best and one being written among them."""
    mixture: int
    beside: int
    """Events and TensorBoard's."""

    @property
    def run(self) -> int:
        """The run's folder at its largest."""
        return self.checkpoint * self.checkpoints + self.mixture + self.beside


@dataclass(frozen=True)
class Footprint:
    """What a run will take at most."""

    config: RunConfig
    tensors: Tensors | None
    """None of a counted model."""
    memory: dict[str, int]
    """Main memory by phase."""
    device: int | None
    """Memory of the accelerator; None where the CPU trains."""
    disk: Disk
    copy: int = 0
    """What a checkpoint is written from while training goes on, or a sample of a divided model; part of the memory."""
    part: Part | None = None
    """What each takes of several processes, which share the main memory."""
    processes: int = 1
    each: int = 0
    """Main memory of one of them while it trains, rank 0's copy aside; of a single process all."""

    @property
    def phase(self) -> str:
        """The one that takes most."""
        return max(self.memory, key=self.memory.__getitem__)

    @property
    def peak(self) -> int:
        """Main memory."""
        return self.memory[self.phase]


def counting_bytes(ngrams: int, tokens: int) -> int:
    """Memory that counting takes at its peak, for a model of so many n-grams in a text of so many tokens.

    Fitted to texts of 0.3 to 64 MB in characters and words, where an n-gram took 15 to 30 bytes.
    """
    return COUNTING * ngrams + POSITIONS * min(tokens, CHUNK) + 4 * min(tokens, HELD)


def most_ngrams(text: Text) -> int:
    """The most n-grams that counting a text can find."""
    return min(MAX_ORDER * len(text.data.ids("counts")), MAX_BYTES // BYTES_PER_NGRAM)


def most_counting(text: Text) -> int:
    """The most memory that counting a text can take, before anything is counted."""
    return counting_bytes(most_ngrams(text), len(text.data.ids("counts")))


def rehearse(config: RunConfig, runtime: Runtime) -> Baseline:
    """The memory of this process when all that training loads has been loaded: one small step is made for it."""
    small = config.with_settings(
        {"n_layer": 1, "n_embd": 64, "n_head": 2, "ffn_width": None}
        | {"batch_size": 2, "block_size": 8, "accumulation": 1}
    )
    if config.model != "ngram":
        model = build_model(small, 64).to(runtime.device, runtime.dtype)
        optimizer = registry.resolve("optimizers", config.train.optimizer)(model, small.train)
        make_step(model, optimizer, small.train, runtime)
    if TensorBoard.available():
        import_module("torch.utils.tensorboard.writer")
    now, most = resident(), peak_resident()
    return Baseline(now or TYPICAL, most or TYPICAL, now is not None)


def predict(draft: Draft, baseline: Baseline, processes: int = 1) -> Footprint:
    """What the run of a draft will take, in so many processes on this machine."""
    config, text = draft.config, draft.text
    order = config.order or next((rung.context + 1 for rung in draft.rungs if rung.name == "ngram"), None)
    counted = next(rung.parameters for rung in draft.rungs if rung.name == "ngram")
    file = 0
    if config.model in ("ngram", "mixture"):
        ngram = fit_ngram(text.data, text.tokenizer, order).model
        counted = ngram.num_parameters()
        file = file_size(named_arrays(ngram.levels))
    if config.model == "ngram":
        memory = {COUNTED: baseline.most, JUDGING: baseline.now + 3 * BYTES_PER_NGRAM * counted}
        return Footprint(config, None, memory, None, Disk(_tokens(text), file + SMALL_FILES, 1, 0, SETTINGS))
    return predict_training(config, text, baseline, counted, file, processes)


def predict_training(
    config: RunConfig, text: Text, baseline: Baseline, ngrams: int, ngram_file: int = 0, processes: int = 1
) -> Footprint:
    """The same for a model that gradients train, beside a counted one of so many n-grams."""
    vocab_size, runtime = text.tokenizer.vocab_size, text.runtime
    tensors = weigh(share_of(config, processes), vocab_size, runtime)
    part = weigh_part(config, vocab_size, runtime, tensors, processes) if processes > 1 else None
    shares = part is not None and config.train.parallel == "fsdp"
    copy = tensors.weights + tensors.moments if _saves_midway(config) else 0
    copy = tensors.weights if shares else copy  # a sample is written from the whole model, a save from nothing else
    training = _training(tensors, part)
    judging = _judging(tensors, part.held if part else tensors.held, config, text, ngrams)
    on_cpu = runtime.device.type != "cuda"
    aside = max(part.beginning, part.saving) if part else 0
    each = baseline.now + (max(training, aside) if on_cpu else aside)
    memory = {
        COUNTED: baseline.most + (processes - 1) * baseline.now,
        TRAINING: processes * each + copy,
        JUDGING: baseline.now + (judging if on_cpu else counting_bytes(ngrams, len(text.data.ids("counts")))),
    }
    device = None if on_cpu else max(training, judging) + _placed(text)
    disk = _disk(config, text, tensors, ngram_file)
    return Footprint(config, tensors, memory, device, disk, copy, part, processes, each)


def smaller(config: RunConfig) -> Iterator[dict[str, int]]:
    """Settings that take less and less memory: first those that leave the result as it is."""
    train, shape = config.train, config.architecture
    parts = train.accumulation
    for count in range(2, train.batch_size + 1):
        if train.batch_size % count == 0 and (count >= 2 * parts or count == train.batch_size > parts):
            parts = count
            yield {"accumulation": parts}
    settings: dict[str, int] = {"accumulation": train.batch_size} if train.batch_size > 1 else {}
    for name, value, least in (
        ("block_size", train.block_size, 32),
        ("n_layer", shape.n_layer, 1),
        ("n_embd", shape.n_embd, 8 * shape.n_head),
    ):
        while config.trained == "gpt" and value // 2 >= least and (name != "n_embd" or value % (4 * shape.n_head) == 0):
            value //= 2
            settings = {**settings, name: value}
            yield settings


def _training(tensors: Tensors, part: Part | None) -> int:
    if part is None:
        return tensors.held + round(max(STEPS * tensors.step.all, _passing(tensors.evaluation)))
    if not part.gathered:
        return part.held + round(max(STEPS * part.step, _passing(tensors.evaluation)))
    return part.held + round(PARTS * max(part.step, part.shown + tensors.evaluation.all))


def _passing(taken: Taken) -> int:
    return taken.all + GAPS * taken.small


def _judging(tensors: Tensors, held: int, config: RunConfig, text: Text, ngrams: int) -> int:
    """The trainer's weights and moments are still there when the checkpoint is read that is used, and the one that
    judged; the n-gram is counted again beside them, once with dev and once without, and all speak of a text."""
    speaking = _passing(tensors.judging)
    reading = tensors.weights + max(tensors.weights, tensors.moments)
    if config.trained != "gpt" or not has_dev(text.data):
        return held + max(reading, tensors.weights + speaking)
    tables = BYTES_PER_NGRAM * ngrams
    counting = counting_bytes(ngrams, len(text.data.ids("counts")))
    moments = tensors.moments if config.model == "mixture" else 0
    return held + max(reading, 2 * tensors.weights + moments + tables + max(counting, tables + speaking + ROWS))


def _placed(text: Text) -> int:
    """Tokens that stay on a GPU."""
    wide = 1 if text.tokenizer.vocab_size <= 256 else 4
    return min(text.runtime.room, sum(wide * len(text.data.ids(split)) for split in ("train", "dev", "val")))


def _tokens(text: Text) -> int:
    return sum(text.data.ids(split).nbytes for split in ("counts", "val"))


def _saves_midway(config: RunConfig) -> bool:
    """Whether a step is made while a checkpoint is written."""
    train = config.train
    return train.save_minutes is not None or train.max_iters > min(train.save_interval, train.eval_interval)


def _disk(config: RunConfig, text: Text, tensors: Tensors, ngram_file: int) -> Disk:
    train = config.train
    evaluations = train.max_iters // train.eval_interval + 2
    saves = train.max_iters // train.save_interval + evaluations if _saves_midway(config) else 1
    if train.save_minutes is not None:
        saves = train.max_iters
    steps = min(train.max_iters, MOST_STEP_LINES)
    scalars = SCALARS * train.max_iters if TensorBoard.available() else 0
    return Disk(
        tokens=_tokens(text),
        checkpoint=tensors.model_file + tensors.optimizer_file + SMALL_FILES,
        checkpoints=min(saves, train.max_iters, train.keep + 2),
        mixture=tensors.model_file + ngram_file + SMALL_FILES if config.model == "mixture" else 0,
        beside=SETTINGS + STEP_LINE * steps + EVALUATION_LINES * evaluations + scalars,
    )
