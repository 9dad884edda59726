"""Documents that Hugging Face's `datasets` reads: Parquet and other files through its builders, datasets of its hub.

All is streamed: nothing is converted into a cache first, and one row after the other is in memory.
"""

import glob
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clearhead.config import DataConfig
from clearhead.errors import CorpusError

PREFIX = "hf:"
BUILDERS = ("text", "json", "parquet")
_PARQUET = ".parquet"


@dataclass(frozen=True)
class Rows:
    """What an argument asks `datasets` for."""

    argument: str
    name: str
    """What is read, for a person."""
    load: Mapping[str, Any]
    """Arguments of `load_dataset`."""
    files: tuple[str, ...] = ()
    """On this machine; () where a dataset of the hub is read, or another place."""

    def documents(self, config: DataConfig) -> Iterator[str]:
        """The text of every row that has any; CorpusError where it cannot be had."""
        field = "text" if self.load["path"] == "text" else config.text_field
        rows, number = self._rows(config), 0
        while True:
            try:
                row = next(rows, None)
            except CorpusError:
                raise
            except Exception as error:  # builders, file formats, file systems and the hub fail in their own ways
                raise self._failed(error) from None
            if row is None:
                return
            number += 1
            if text := self._text(row, field, number):
                yield text

    def _rows(self, config: DataConfig) -> Iterator[Mapping[str, Any]]:
        try:
            import datasets
            from huggingface_hub import logging as hub
        except ImportError:
            raise CorpusError(
                f"{self.argument!r} needs the package datasets; install it: pip install 'clearhead[datasets]'"
            ) from None
        datasets.utils.logging.set_verbosity_error()
        hub.set_verbosity_error()
        load = dict(self.load)
        if load["path"] == "text":
            load["sample_by"] = "line" if config.lines else "document"
        yield from datasets.load_dataset(**load, streaming=True)

    def _text(self, row: Mapping[str, Any], field: str, number: int) -> str | None:
        """The text of a row; null is none."""
        if field not in row:
            columns = ", ".join(map(repr, list(row)[:8])) or "none"
            raise CorpusError(
                f"{self.argument!r}: no column '{field}' (columns: {columns}); name one with --text_field"
            )
        text = row[field]
        if text is not None and not isinstance(text, str):
            raise CorpusError(
                f"{self.argument!r}, row {number}: column '{field}' holds {type(text).__name__} and no text; "
                "name another with --text_field"
            )
        return text

    def _failed(self, error: Exception) -> CorpusError:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        if self.files or "data_files" in self.load:
            return CorpusError(f"{self.argument!r} cannot be read ({reason}); check the files")
        return CorpusError(f"{self.argument!r} cannot be had ({reason}); check the name and the network")


def is_rows(argument: str) -> bool:
    """Whether `datasets` reads an argument: one that begins with hf:, or Parquet."""
    return argument.startswith(PREFIX) or argument.lower().endswith(_PARQUET)


def find_rows(argument: str) -> Rows:
    """What an argument asks for; CorpusError where no file is there, or it cannot be understood.

    hf:parquet:FILES, hf:json:FILES and hf:text:FILES read files (a path, a glob, an address); FILES that end with
    .parquet need no prefix. hf:NAME, hf:NAME:SPLIT and hf:NAME:CONFIG:SPLIT are datasets of the hub.
    """
    kind, colon, rest = argument.removeprefix(PREFIX).partition(":")
    if not argument.startswith(PREFIX):
        kind, rest = "parquet", argument
    if kind in BUILDERS:
        return _find_files(argument, kind, rest)
    parts = rest.split(":") if colon else []
    if not kind or len(parts) > 2 or not all(parts):
        raise CorpusError(f"{argument!r} cannot be read; write hf:parquet:FILES, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT")
    split = parts[-1] if parts else "train"
    return Rows(argument, kind, {"path": kind, "name": parts[0] if len(parts) == 2 else None, "split": split})


def _find_files(argument: str, kind: str, pattern: str) -> Rows:
    load = {"path": kind, "split": "train"}
    if "://" in pattern:
        return Rows(argument, pattern.rpartition("/")[2] or pattern, {**load, "data_files": pattern})
    absolute = os.path.abspath(pattern)
    files = tuple(sorted(filter(os.path.isfile, [absolute, *glob.glob(absolute, recursive=True)])))
    if not pattern or not files:
        raise CorpusError(f"no file matches {pattern!r} of {argument!r}; check the path, and quote a pattern")
    files = tuple(dict.fromkeys(files))
    prefixed = f"{PREFIX}{kind}:{absolute}"
    return Rows(prefixed, os.path.basename(pattern), {**load, "data_files": list(files)}, files)
