"""Texts that cannot be read from the middle (gzip, iterators) laid down as files that can."""

import json
from collections.abc import Iterable
from pathlib import Path

from clearhead.data.reading import is_gzip, refuse_other_kinds, unreadable, unzipped
from clearhead.files import open_atomic

_GATHERED = 1_000
"""Documents written at a time."""


def spool(documents: Iterable[str], target: Path) -> None:
    """Write documents as JSON Lines, in field "text"; whole or not there. StorageError when the disk refuses."""
    with open_atomic(target) as file:
        lines: list[str] = []
        for document in documents:
            lines.append(json.dumps({"text": document}, ensure_ascii=False))
            if len(lines) == _GATHERED:
                file.write(("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))
                lines.clear()
        if lines:
            file.write(("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))


def unpack(path: Path, target: Path) -> bool:
    """Write what a file of gzip holds; False where the file is none, and nothing was written.

    CorpusError where it cannot be read, is broken, or grows without end.
    """
    try:
        refuse_other_kinds(path)
        with path.open("rb") as file:
            if not is_gzip(file.read(2)):
                return False
            file.seek(0)
            with open_atomic(target) as unpacked:
                for piece in unzipped(file, repr(str(path)), path.stat().st_size):
                    unpacked.write(piece)
            return True
    except OSError as error:
        raise unreadable(path, error) from None
