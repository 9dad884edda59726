"""Will a run fit? Its footprint beside what is free, in one line; and the nearest settings that would."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from clearhead.training.draft import Text, draft_run, fit_block, read_text
from clearhead.training.footprint import (
    COUNTED,
    TRAINING,
    Baseline,
    Footprint,
    most_counting,
    most_ngrams,
    predict,
    predict_training,
    rehearse,
    smaller,
)
from clearhead.training.memory import free_memory, resident
from clearhead.training.parallel import check_ranks


@dataclass(frozen=True)
class Room:
    """Bytes that a run can have; None where the system does not tell."""

    memory: int | None
    device: int | None
    disk: int

    def holds(self, footprint: Footprint) -> bool:
        """Whether a run fits."""
        return self.holds_memory(footprint) and footprint.disk.run <= self.disk

    def holds_memory(self, footprint: Footprint) -> bool:
        """Whether the memory suffices, the accelerator's too."""
        pairs = (footprint.peak, self.memory), (footprint.device, self.device)
        return all(needed is None or free is None or needed <= free for needed, free in pairs)


@dataclass(frozen=True)
class Verdict:
    """What a run takes, what there is, and what that means."""

    footprint: Footprint
    baseline: Baseline
    room: Room
    fits: bool
    words: str
    """One line."""
    notices: list[str]

    def lines(self) -> list[tuple[str, str]]:
        """Names and values for a person."""
        memory, disk, room = self.footprint.memory, self.footprint.disk, self.room
        rows = [("run", _described(self.footprint))]
        rows += [(f"memory, {phase}", size(amount)) for phase, amount in memory.items()]
        if self.footprint.part is not None:
            rows.append((f"  each of {self.footprint.processes} processes, training", size(self.footprint.each)))
        rows.append(("  Python, torch, text", size(self.baseline.now) + " (guessed)" * (not self.baseline.measured)))
        rows += [(f"  {name}", size(amount)) for name, amount in _parts(self.footprint).items()]
        if self.footprint.device is not None:
            rows.append(("memory of the GPU", f"{size(self.footprint.device)}, and what CUDA takes for itself"))
        rows.append(("a checkpoint", f"{size(disk.checkpoint)}, at most {disk.checkpoints} at one time"))
        rows += [("the mixture", size(disk.mixture))] if disk.mixture else []
        rows.append(("tokens in the cache", f"{size(disk.tokens)}, there already"))
        free = "not measured" if room.memory is None else size(room.memory)
        return [*rows, ("free", f"{free} of memory, {size(room.disk)} of disk")]

    def document(self) -> dict[str, Any]:
        """The same for a script, in bytes."""
        footprint, disk = self.footprint, self.footprint.disk
        return {
            "fits": self.fits,
            "verdict": self.words,
            "run": _described(footprint),
            "memory": {"peak": footprint.peak, "free": self.room.memory, "measured": self.baseline.measured}
            | {"phases": footprint.memory, "parts": {"Python, torch, text": self.baseline.now, **_parts(footprint)}}
            | {"processes": footprint.processes, "each": footprint.each},
            "device": {"peak": footprint.device, "free": self.room.device},
            "disk": {**asdict(disk), "run": disk.run, "free": self.room.disk},
            "notices": self.notices,
        }


def examine(wanted: Mapping[str, Any], free_disk: int, processes: int = 1) -> Verdict:
    """The verdict on what `new_job` would be asked for, in a process that has done nothing else yet.

    Of several processes on this machine it is this one that prepares, and judges at the end.

    The text is read, counted and planned for; where counting could already be too much, it is not tried.
    The errors are those of `new_job`.
    """
    init_from = wanted["init_from"]
    text = read_text(wanted["config"], wanted["corpus"], name=wanted["name"], init_from=init_from)
    room = _room(text, free_disk)
    if room.memory is not None and most_counting(text) > room.memory - (resident() or 0):
        return _untried(text, room, processes)
    draft = draft_run(text, init_from=init_from, budget=wanted["budget"], fixed=wanted["fixed"])
    check_ranks(draft.config.train.batch_size, processes)
    baseline = rehearse(draft.config, text.runtime)
    footprint = predict(draft, baseline, processes)
    ngrams = next(rung.parameters for rung in draft.rungs if rung.name == "ngram")
    return _judge(footprint, text, baseline, room, ngrams, draft.notices)


def size(amount: int) -> str:
    """Bytes for a person.

    >>> size(6_500_000), size(12_340_000_000)
    ('6.5 MB', '12.3 GB')
    """
    return f"{amount / 1e9:,.1f} GB" if amount >= 1e10 else f"{amount / 1e6:,.{int(amount < 1e7)}f} MB"


def _room(text: Text, free_disk: int) -> Room:
    free, device = free_memory(), None
    if text.runtime.device.type == "cuda":
        device = torch.cuda.mem_get_info(text.runtime.device)[0]
    return Room(None if free is None else free + (resident() or 0), device, free_disk)


def _untried(text: Text, room: Room, processes: int) -> Verdict:
    """The verdict where counting the text may be too much."""
    now, ngrams = resident() or 0, most_ngrams(text)
    baseline = Baseline(now, now + most_counting(text), measured=True)
    config, notices = fit_block(text.config, text.data)
    footprint = predict_training(config, text, baseline, ngrams, processes=processes)
    return _judge(footprint, text, baseline, room, ngrams, [*text.notices, *notices])


def _judge(
    footprint: Footprint, text: Text, baseline: Baseline, room: Room, ngrams: int, notices: list[str]
) -> Verdict:
    if room.holds(footprint):
        free = "what is free is not known here" if room.memory is None else f"{size(room.memory)} free"
        words = (
            f"fits: {size(footprint.peak)} of memory at most ({footprint.phase}), {free}; "
            f"{size(footprint.disk.run)} of disk at most, {size(room.disk)} free"
        )
        return Verdict(footprint, baseline, room, True, words, notices)
    if room.holds_memory(footprint):
        words = _too_much_disk(footprint, room)
    else:
        words = _too_much_memory(footprint, text, baseline, room, ngrams)
    return Verdict(footprint, baseline, room, False, f"does not fit: {words}", notices)


def _too_much_disk(footprint: Footprint, room: Room) -> str:
    needs = f"{size(footprint.disk.run)} of disk at most are needed and {size(room.disk)} are free"
    fewer = replace(footprint.disk, checkpoints=min(4, footprint.disk.checkpoints))
    if fewer.run <= room.disk:
        return f"{needs}; try --keep 2 ({size(fewer.run)})"
    return f"{needs}; give an --out on a larger disk, or a smaller --n_embd"


def _too_much_memory(footprint: Footprint, text: Text, baseline: Baseline, room: Room, ngrams: int) -> str:
    device, amount = footprint.device, footprint.peak
    if room.memory is not None and amount > room.memory:
        phase, amount = next(item for item in footprint.memory.items() if item[1] > room.memory)
        needs = f"{phase} needs {size(amount)} of memory and {size(room.memory)} are free"
    else:
        phase = TRAINING
        needs = f"{phase} needs {size(device or 0)} of the GPU's memory and {size(room.device or 0)} are free"
    if phase == COUNTED or footprint.tensors is None:
        return f"{needs}; train on a part of the text"

    def helps(settings: dict[str, int]) -> bool:
        other = footprint.config.with_settings(settings)
        return room.holds_memory(predict_training(other, text, baseline, ngrams, processes=footprint.processes))

    offered = list(smaller(footprint.config))
    first = bisect_left(offered, True, key=helps)  # each takes less than the one before
    if first == len(offered):
        return f"{needs}; try a far smaller --n_embd and --n_layer"
    return f"{needs}; try " + " ".join(f"--{name} {value}" for name, value in offered[first].items())


def _described(footprint: Footprint) -> str:
    config, tensors = footprint.config, footprint.tensors
    train, shape = config.train, config.architecture
    if tensors is None:
        return "ngram, counted"
    sizes = f"{shape.n_layer} layers, width {shape.n_embd}, " if config.trained == "gpt" else ""
    parts = f" in {train.accumulation} parts" if train.accumulation > 1 else ""
    return (
        f"{config.model} with {tensors.parameters:,} parameters, {sizes}context {train.block_size}; "
        f"{train.batch_size} x {train.block_size} tokens a step{parts}, {train.optimizer}"
    )


def _parts(footprint: Footprint) -> dict[str, int]:
    """What training takes beside Python and torch, in bytes; of several processes what each takes."""
    tensors = footprint.tensors
    if tensors is None:
        return {}
    if (part := footprint.part) is not None:
        shared = {"gathered for a while": part.gathered} if part.gathered else {}
        return {"weights": part.weights, "gradients": part.gradients, "moments": part.moments, **shared} | {
            "activations, logits": part.passes,
            "a copy on rank 0": footprint.copy,
        }
    return {
        "weights": tensors.weights,
        "gradients": tensors.gradients,
        "moments": tensors.moments,
        "activations, logits": tensors.step.all - tensors.gradients,
        "copy to save from": footprint.copy,
    }
