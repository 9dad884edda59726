"""From what the user names to files that can be read from any place: packed and carried texts are laid down first."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearhead.config import DataConfig
from clearhead.data.hub import Rows, find_rows, is_rows
from clearhead.data.preparing.parts import Reading, read_block
from clearhead.data.preparing.spans import TextFile, blocks
from clearhead.data.preparing.spool import spool, unpack
from clearhead.data.reading import STDIN, unreadable
from clearhead.data.remote import RemoteFile, fetch, is_remote, remote_files
from clearhead.data.sources import TEXT_SUFFIXES, Source, carried_text, find_files
from clearhead.errors import CorpusError
from clearhead.files import storing, write_atomic


@dataclass(frozen=True)
class Located:
    """What an argument names."""

    name: str
    paths: tuple[Path, ...]
    config: DataConfig
    carried: Source | None = None
    """A text that is no file."""
    rows: Rows | None = None
    """What `datasets` reads."""
    remote: tuple[RemoteFile, ...] = ()
    """Files somewhere else."""

    def described(self) -> dict[str, Any]:
        """What is asked for: the same when it is asked again."""
        if self.carried:
            return {"name": self.name, "characters": [len(text) for text in self.carried.documents]}
        files = [[path.name, _size(path)] for path in self.paths] + [[file.name, file.size] for file in self.remote]
        if self.rows:
            return {"rows": dict(self.rows.load), "files": files, "lines": self.config.lines}
        return {"name": self.name, "files": files, "lines": self.config.lines}


@dataclass(frozen=True)
class Gathered:
    """The files of one source, as they are read."""

    name: str
    files: tuple[TextFile, ...]
    notices: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Of text."""
        return sum(file.size for file in self.files)


def locate(arguments: Sequence[str], config: DataConfig) -> list[Located]:
    """What arguments name; CorpusError says what is wrong: of standard input, that it can be read only once."""
    if STDIN in arguments:
        raise CorpusError("standard input can be read only once, and this reads a text twice; put it into a file")
    return [_locate(argument, config) for argument in dict.fromkeys(arguments)]


def gather(located: Sequence[Located], folder: Path) -> list[Gathered]:
    """Their files; what is packed, or no file, is laid down in a folder, once."""
    return [_gather(source, folder / f"source-{number:03}") for number, source in enumerate(located)]


def holds_documents(sources: Sequence[Gathered], reading: Reading, least: int) -> bool:
    """Whether there are so many documents; no more is read than it takes to tell."""
    count = 0
    for file in (file for source in sources for file in source.files):
        if file.kind == "text":
            count += file.size > 0
            continue
        for block in blocks([file], 1 << 20):
            count += len(read_block(block, reading)[0])
            if count >= least:
                return True
    return count >= least


def _locate(argument: str, config: DataConfig) -> Located:
    if carried := carried_text(argument):
        return Located(carried.name, (), config, carried)
    if is_rows(argument):
        rows = find_rows(argument)
        return Located(rows.name, tuple(map(Path, rows.files)), config, rows=rows)
    if is_remote(argument):
        name = argument.rstrip("/").rpartition("/")[2]
        return Located(name, (), config, remote=tuple(remote_files(argument, TEXT_SUFFIXES)))
    found = find_files(argument, config)
    return Located(found.name, tuple(Path(os.path.abspath(path)) for path in found.files), found.config)


def _gather(source: Located, laid: Path) -> Gathered:
    if source.carried:
        write_atomic(laid, "".join(source.carried.documents))
        return Gathered(source.name, (TextFile(str(laid), "text", laid.stat().st_size),), source.carried.notices)
    if source.rows:
        if not laid.exists():
            spool(source.rows.documents(source.config), laid)
        return Gathered(source.name, (TextFile(str(laid), "json", laid.stat().st_size),), ())
    paths = source.paths + tuple(_fetched(file, Path(f"{laid}.{at}")) for at, file in enumerate(source.remote))
    files = tuple(_readable(path, source.config, Path(f"{laid}.{at}")) for at, path in enumerate(paths))
    empty = [path.name for path, file in zip(paths, files, strict=True) if not file.size]
    notice = f"{len(empty)} empty file(s) left out, such as {empty[0]!r}" if empty else ""
    return Gathered(source.name, files, (notice,) if notice else ())


def _fetched(file: RemoteFile, folder: Path) -> Path:
    """A copy of a file from somewhere else, in a folder of its own, where it keeps its name."""
    copy = folder.with_name(f"{folder.name}-copy") / file.name
    if not copy.exists():
        with storing(copy):
            copy.parent.mkdir(exist_ok=True)
        fetch(file, copy)
    return copy


def _readable(path: Path, config: DataConfig, laid: Path) -> TextFile:
    """The file itself, or what it holds where it is packed."""
    if laid.exists() or unpack(path, laid):
        return TextFile.of(str(laid), config, path.name)
    return TextFile.of(str(path), config)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from None
