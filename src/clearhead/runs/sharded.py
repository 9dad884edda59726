"""The tensors of a checkpoint that several ranks wrote, each its part into a safetensors file of its own.

PyTorch's distributed checkpoints, through their writer and reader of Hugging Face's format: each file's header says
which rows of which tensors it holds, so there is no index, and nothing is pickled. A tensor has the name that it has in
an ordinary checkpoint, and the reader reads those as well: one rank or many, as many as there were or others.
"""

# torch documents its distributed checkpoints, but does not export them to type checkers.
# pyright: reportPrivateImportUsage=false

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clearhead.errors import CheckpointError
from clearhead.files import sha256_file

SUFFIX = ".safetensors"
_SHARD = "shard-{:05}-model-00001-of-00001" + SUFFIX
"""As the writer names the file of a rank, counted from 1."""
_IS_SHARD = re.compile(r"shard-\d{5}-model-00001-of-00001" + re.escape(SUFFIX))


def is_shard(name: str) -> bool:
    """Whether a file is a rank's part of a checkpoint, by its name."""
    return bool(_IS_SHARD.fullmatch(name))


def shards_of(names: Iterable[str]) -> tuple[str, ...]:
    """The files of all ranks that a checkpoint must have whose manifest has these names; none of an ordinary one."""
    found = [int(name.split("-")[1]) for name in names if is_shard(name)]
    return tuple(_SHARD.format(number) for number in range(1, max(found, default=0) + 1))


def save_parts(folder: Path | None, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Write what each rank holds of the tensors; the SHA-256 of each file. All ranks call it together.

    `folder` is rank 0's word, which the others need not know. OSError on all where one cannot write.
    """
    from torch.distributed import checkpoint as dcp

    told: list[Any] = [folder]
    dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    with _one_failure():  # sorted: what was read back lies in another order
        dcp.save(
            dict(sorted(tensors.items())),
            storage_writer=dcp.HuggingFaceStorageWriter(path=str(told[0]), save_distributed=True),
        )
    mine = _SHARD.format(dist.get_rank() + 1)
    found: list[Any] = [None] * dist.get_world_size()
    digest = sha256_file(told[0] / mine) if (told[0] / mine).exists() else None  # who holds no row writes no file
    dist.all_gather_object(found, digest)
    return {_SHARD.format(number): digest for number, digest in enumerate(found, 1) if digest is not None}


def read_whole(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and moments of a checkpoint, whole, by this process alone; CheckpointError where rows are missing."""
    # Zeros: a stranger's parts may overlap, and what they leave out must not be what memory held before.
    tensors = {name: torch.zeros(shape, dtype=dtype) for name, (shape, dtype) in _described(folder).items()}
    _load(tensors, folder, alone=True)
    moments = {name for name in tensors if name.rpartition(".")[0] in tensors}
    return (
        {name: tensor for name, tensor in tensors.items() if name not in moments},
        {name: tensor for name, tensor in tensors.items() if name in moments},
    )


def read_moments(folder: Path, model: nn.Module) -> dict[str, Tensor]:
    """Of a checkpoint's moments the rows that this rank holds of the model's weights. All ranks call it together."""
    weights, moments = dict(model.named_parameters()), {}
    for name, (shape, dtype) in _described(folder).items():
        weight = weights.get(name.rpartition(".")[0])
        if weight is not None:
            alike = shape == weight.shape
            moments[name] = torch.zeros_like(weight, dtype=dtype) if alike else torch.zeros(shape, dtype=dtype)
    _load(moments, folder, alone=False)
    return moments


def _described(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of each tensor, from the headers of the files; memory is taken for what is there alone."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    described = {}
    for name, tensor in found.items():
        part: Any = tensor
        held = sum(chunk.sizes.numel() for chunk in part.chunks)
        if held != part.size.numel():
            raise CheckpointError(f"its files hold {held:,} of the {part.size.numel():,} numbers of {name}")
        described[name] = (part.size, part.properties.dtype)
    return described


def _load(tensors: dict[str, Tensor], folder: Path, *, alone: bool) -> None:
    from torch.distributed import checkpoint as dcp

    with _one_failure(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process is what is meant
        dcp.load(dict(tensors), storage_reader=dcp.HuggingFaceStorageReader(str(folder)), no_dist=alone)


@contextmanager
def _one_failure() -> Iterator[None]:
    """Raise what went wrong, of several ranks on the first: PyTorch's own exception is none that is caught."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from None
