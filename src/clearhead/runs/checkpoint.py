"""One checkpoint: a folder that appears whole or not at all, and is checked when it is read.

Weights and optimizer moments are safetensors, the rest is JSON; nothing in it can run code.
"""

import json
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clearhead import registry
from clearhead.errors import CheckpointError, ClearheadError, DamageWarning
from clearhead.files import check_room, folder_atomic, remove_folder, sha256_file, storing
from clearhead.models.base import LanguageModel
from clearhead.optim.sharded import local
from clearhead.runs.directory import POINTERS, RunDirectory
from clearhead.runs.sharded import SUFFIX, read_whole, save_parts, shards_of

MODEL, OPTIMIZER, STATE, MANIFEST = "model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
FILES = (MODEL, OPTIMIZER, STATE)
"""What the manifest of an ordinary checkpoint vouches for; see `files_of`."""
_BROKEN = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
"""What reading raises where a file whose hash is right says what Clearhead would not write."""
BESIDE_TENSORS = 1 << 18
"""Bytes of a checkpoint that are not tensors, generously: names, numbers, hashes."""


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a checkpoint's folder."""

    step: int
    model: LanguageModel
    optimizer: dict[str, Tensor]
    """Moments by "parameter name.key"; empty for counted models."""
    state: dict[str, Any]
    """The trainer's own numbers."""


def files_of(names: Iterable[str]) -> tuple[str, ...]:
    """What the manifest of a checkpoint must vouch for that has these names: where ranks wrote it, a file of each."""
    shards = shards_of(names)
    return (*shards, STATE) if shards else FILES


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """An optimizer's state as named tensors, for safetensors."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}.{key}"] = torch.as_tensor(value)
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put the moments of `optimizer_tensors` back; CheckpointError when they do not fit the model."""
    remaining = dict(tensors)
    for name, parameter in model.named_parameters():
        keys = [full for full in remaining if full.rpartition(".")[0] == name]
        moments = {full.rpartition(".")[2]: remaining.pop(full) for full in keys}
        for key, value in moments.items():
            if value.dim() and value.shape != parameter.shape:
                raise CheckpointError(
                    f"optimizer state {name}.{key} has shape {tuple(value.shape)}, not the weights'; train again"
                )
            if not value.is_floating_point() or not bool(local(value).isfinite().all()):
                raise CheckpointError(f"optimizer state {name}.{key} holds what are no finite numbers; train again")
        # torch's fused AdamW counts steps beside the weights; elsewhere the count stays on the CPU.
        optimizer.state[parameter] = {k: v.to(parameter.device) for k, v in moments.items()}
    if remaining:
        unknown = ", ".join(sorted(remaining)[:3])
        raise CheckpointError(f"optimizer state for unknown weights: {unknown}; train again")


@dataclass(frozen=True)
class Snapshot:
    """All that a checkpoint will hold, as it was at one moment."""

    step: int
    described: dict[str, Any]
    """Kind and configuration of the model."""
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes of its tensors."""
        return sum(tensor.nbytes for tensor in (*self.weights.values(), *self.optimizer.values()))


def snapshot(
    step: int,
    model: LanguageModel,
    *,
    state: dict[str, Any],
    optimizer: dict[str, Tensor] | None = None,
    copy: bool = False,
) -> Snapshot:
    """What `write_snapshot` writes. With `copy` the model may be trained on meanwhile."""
    weights, moments = (
        {name: _held(tensor, copy) for name, tensor in tensors.items()}
        for tensors in (model.state_dict(), optimizer or {})
    )
    return Snapshot(step, described(model), weights, moments, state)


def described(model: LanguageModel) -> dict[str, Any]:
    """What a checkpoint says of its model."""
    return {"kind": model.kind, "config": model.to_config()}


def _held(tensor: Tensor, copy: bool) -> Tensor:
    """A tensor as safetensors takes it: on the CPU, in one piece."""
    held = tensor.detach().cpu().contiguous()
    return held.clone() if copy and held.data_ptr() == tensor.data_ptr() else held


def write_snapshot(path: Path, taken: Snapshot) -> None:
    """Write a checkpoint's folder; it appears whole or not at all, in the place of one that is there.

    StorageError when the disk refuses or is full.
    """
    check_room(path, taken.size + BESIDE_TENSORS)
    with folder_atomic(path) as aside:
        _save_tensors(taken.weights, aside / MODEL)
        _save_tensors(taken.optimizer, aside / OPTIMIZER)
        _complete(path, aside, taken, {name: sha256_file(aside / name) for name in (MODEL, OPTIMIZER)})


def write_shards(path: Path, taken: Snapshot) -> None:
    """As `write_snapshot`, of sharded tensors: all ranks call it, each writes its part, rank 0 makes the folder."""
    tensors = {**taken.weights, **taken.optimizer}
    if dist.get_rank():
        with storing(path):
            save_parts(None, tensors)
        return
    check_room(path, taken.size + BESIDE_TENSORS * dist.get_world_size())
    with folder_atomic(path) as aside:
        _complete(path, aside, taken, save_parts(aside, tensors))


def _complete(path: Path, aside: Path, taken: Snapshot, digests: dict[str, str]) -> None:
    """Write what is not tensors, and make room for the folder."""
    document = {"step": taken.step, "model": taken.described, "trainer": taken.state}
    (aside / STATE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    digests = {**digests, STATE: sha256_file(aside / STATE)}
    (aside / MANIFEST).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    if path.exists():
        remove_folder(path)


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors; OSError, as any other write, where the disk refuses (safetensors has a class of its own)."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(str(error).removeprefix("Error while serializing: ")) from error


def save_checkpoint(
    run: RunDirectory,
    step: int,
    model: LanguageModel,
    *,
    state: dict[str, Any],
    optimizer: dict[str, Tensor] | None = None,
) -> Path:
    """Write checkpoint `step` and point `latest` to it. StorageError when the disk refuses; old ones remain."""
    write_snapshot(run.checkpoint(step), snapshot(step, model, state=state, optimizer=optimizer))
    run.point("latest", step)
    return run.checkpoint(step)


def save_mixture(run: RunDirectory, step: int, model: LanguageModel, *, state: dict[str, Any]) -> Path:
    """Write the whole mixture beside the checkpoints, with the step of its GPT; StorageError when the disk refuses."""
    drop_mixture(run)
    write_snapshot(run.mixture, snapshot(step, model, state=state))
    return run.mixture


def drop_mixture(run: RunDirectory) -> None:
    """Delete the mixture, which will be fitted anew."""
    if run.mixture.exists():
        remove_folder(run.mixture)


def load_checkpoint(run: RunDirectory, step: int) -> Checkpoint:
    """Read and verify one checkpoint; CheckpointError names what is missing, changed or does not fit."""
    return _read(run.checkpoint(step), step)


def load_mixture(run: RunDirectory) -> Checkpoint | None:
    """Read and verify the mixture; None where none was fitted (yet), CheckpointError where it is damaged."""
    try:
        return _read(run.mixture) if run.mixture.exists() else None
    except CheckpointError as error:
        raise CheckpointError(f"{error}; fit it again with: clearhead resume {run.path}") from error


def _read(path: Path, step: int | None = None) -> Checkpoint:
    try:
        digests = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name in files_of(digests):
            if sha256_file(path / name) != digests[name]:
                raise CheckpointError(f"{name} is damaged: its SHA-256 is not the manifest's")
        document = json.loads((path / STATE).read_text(encoding="utf-8"))
        said, found = document["model"], document["step"]
        if type(found) is not int or found < 0 or step not in (None, found):
            raise CheckpointError(f"{STATE} says that it is step {found!r}")
        weights, moments = _read_tensors(path, digests)
        model = registry.resolve("models", said["kind"]).restore(said["config"], weights)
        return Checkpoint(found, model, moments, document["trainer"])
    except (ClearheadError, OSError, SafetensorError, *_BROKEN) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error or type(error).__name__}") from error


def _read_tensors(path: Path, names: Collection[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and moments, whole, whoever wrote them."""
    if MODEL in names:
        return load_file(path / MODEL), load_file(path / OPTIMIZER)
    for file in path.glob(f"*{SUFFIX}"):
        if file.name not in names:
            raise CheckpointError(f"{file.name} does not belong into it")
    return read_whole(path)


def newest_checkpoint(run: RunDirectory) -> tuple[Checkpoint, list[str]]:
    """The newest checkpoint that is whole, and a line for each broken one that was passed over."""
    passed_over = []
    for step in reversed(run.steps()):
        try:
            return load_checkpoint(run, step), passed_over
        except CheckpointError as error:
            passed_over.append(f"{error}; passed over for an older one")
    why = f": {passed_over[0]}" if passed_over else ""
    raise CheckpointError(f"run {run.path} has no checkpoint to load{why}; train it again")


def set_newer_aside(run: RunDirectory, step: int) -> None:
    """Move the checkpoints after `step`, which are broken, out of the way: kept, but neither pointed to nor found.

    Only for who holds the run's lock.
    """
    with storing(run.checkpoints):
        for newer in run.steps():
            if newer > step:
                for pointer in POINTERS:
                    if run.pointer(pointer) == newer:
                        run.unpoint(pointer)
                run.set_aside(newer)


def best_checkpoint(run: RunDirectory) -> Checkpoint:
    """The checkpoint that dev liked best, else the newest whole one; a DamageWarning names a best that is broken."""
    best = run.pointer("best")
    if best is not None:
        with _passing_over():
            return load_checkpoint(run, best)
    checkpoint, passed_over = newest_checkpoint(run)
    for message in passed_over:
        warnings.warn(message, DamageWarning, stacklevel=2)
    return checkpoint


def final_checkpoint(run: RunDirectory) -> Checkpoint:
    """The checkpoint that a run is used by: its last where that has learned from dev, else the one dev liked best.

    A DamageWarning names each that is broken and passed over.
    """
    train = run.read_config().train
    if train.dev_iters and run.pointer("latest") == train.max_iters:
        with _passing_over():
            return load_checkpoint(run, train.max_iters)
    return best_checkpoint(run)


@contextmanager
def _passing_over() -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        warnings.warn(f"{error}; another checkpoint is used", DamageWarning, stacklevel=4)


def prune(run: RunDirectory, keep: int) -> None:
    """Delete all checkpoints but the newest `keep` and the best."""
    spared = {*run.steps()[-keep:], run.pointer("best")}
    for step in run.steps():
        if step not in spared:
            remove_folder(run.checkpoint(step))
