"""A file of events, read as it grows: each time the whole lines that are new, and nothing twice."""

import os
from dataclasses import dataclass
from pathlib import Path

MOST = 4 << 20
"""Bytes of one reading."""


@dataclass
class Tail:
    """The place in a file up to which it was read.

    A run that goes on writes its events anew, up to its checkpoint: that is another file, read from its beginning.
    """

    path: Path
    cursor: int = 0
    """Bytes; always where a line begins."""
    file: int | None = None
    """The system's number of the file that was read."""

    def read(self) -> tuple[list[bytes], bool]:
        """The new lines, and whether they begin anew. Costs one look at the folder where nothing is new."""
        try:
            found = os.stat(self.path)
        except OSError:
            return [], False
        anew = self.file not in (None, found.st_ino) or found.st_size < self.cursor
        self.file = found.st_ino
        if found.st_size == self.cursor and not anew:
            return [], False
        with self.path.open("rb") as file:
            if self.cursor:
                file.seek(self.cursor - 1)
                anew = anew or file.read(1) != b"\n"
            if anew:
                self.cursor = 0
                file.seek(0)
            data = file.read(MOST)
        end = data.rfind(b"\n") + 1
        self.cursor += end
        return data[:end].split(b"\n")[:-1], anew
