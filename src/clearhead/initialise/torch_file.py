"""What torch.save has written, read as tensors and plain values: nothing in it is ever run.

The only place where such a file is opened. It is a pickle inside a zip archive; torch's reader for weights alone knows
no other classes than tensors and containers, and here there is no way around it.
"""

import re
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from clearhead.errors import CheckpointError

_ZIP = b"PK\x03\x04"


def load_torch(path: Path) -> Any:
    """What lies in a file of torch.save, on the CPU; CheckpointError in one line where it is none, or holds code."""
    _check_kind(path)
    try:
        archive = _repacked(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols and layouts; what is refused is said below
            return torch.load(archive, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a reader stumbles over in bytes that a stranger wrote
        raise CheckpointError(f"{path} {_reason(error)}") from None


def _check_kind(path: Path) -> None:
    """CheckpointError for what is no archive at all, with what it is instead."""
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "is no file" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {kind}; name the file that torch.save wrote")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from None
    if not head:
        raise CheckpointError(f"{path} is empty; copy it again")
    if path.suffix == ".safetensors" or (head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32):
        raise CheckpointError(
            f"{path} is a safetensors file; import reads what torch.save wrote: nanoGPT's ckpt.pt, or a state_dict"
        )
    if not head.startswith(_ZIP):
        raise CheckpointError(
            f"{path} is no file that torch.save wrote (since PyTorch 1.6); name a ckpt.pt or a saved state_dict"
        )


def _repacked(path: Path) -> BytesIO:
    """The archive's records, each held against its checksum, in an archive of our own making.

    torch's reader looks at no checksum, and takes for empty what the directory calls a folder: it would return memory
    that nobody has written. CheckpointError where the records claim more bytes than the file has.
    """
    clean = BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(clean, "w") as copy:
        if sum(record.file_size for record in archive.infolist()) > path.stat().st_size:
            raise CheckpointError(f"{path} claims to hold more bytes than it has; torch.save does not write that")
        for record in archive.infolist():
            copy.writestr(record.filename, archive.read(record))
    clean.seek(0)
    return clean


def _reason(error: Exception) -> str:
    """Why a file was refused, in our words: torch's advise to read it without the protection."""
    told = str(error)
    if refused := re.search(r"GLOBAL ([\w.]+)", told):
        return (
            f"holds {refused[1]}, an object or code, which is never loaded; "
            "save the weights alone: torch.save(model.state_dict(), FILE)"
        )
    if type(error).__name__ == "UnpicklingError":
        return "holds more than tensors and plain values, which is never loaded; save model.state_dict() alone"
    first = (told.splitlines() or [type(error).__name__])[0].split(". ")[0][:200].rstrip(".")
    return f"is damaged or cut short ({first}); copy it again"
