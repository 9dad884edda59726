"""From what the user names (files, folders, globs, standard input, named corpora) to documents."""

import difflib
import glob
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clearhead.config import DataConfig
from clearhead.data import named
from clearhead.data.grammar import grammar_notice, grammar_text
from clearhead.data.hub import find_rows, is_rows
from clearhead.data.manifest import is_prepared
from clearhead.data.reading import STDIN, read_documents
from clearhead.data.remote import fetch, is_remote, remote_files
from clearhead.errors import CorpusError

TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".jsonl")
"""What counts as text in a folder, gzipped or not."""


@dataclass(frozen=True)
class Source:
    """Documents and where they came from."""

    name: str
    documents: tuple[str, ...]
    paths: tuple[str, ...]
    """What `read_source` finds them by again: absolute paths and patterns, or a corpus's name; () for stdin."""
    notices: tuple[str, ...] = ()


def read_source(corpus: Sequence[str], config: DataConfig) -> Source:
    """The documents that the arguments name; the default corpus when there are none.

    An argument is a file, a folder (its text files, sorted, hidden ones left out), a glob, "-" for standard
    input, the name of a corpus where no such path exists, an address (scheme://path), or what `datasets` reads (see
    `find_rows`). CorpusError says what is wrong in one line.
    """
    arguments = list(dict.fromkeys(corpus)) or [named.default_corpus()]
    sources = [_read_argument(argument, config) for argument in arguments]
    documents = tuple(document for source in sources for document in source.documents)
    name = joint_name([source.name for source in sources])
    _refuse_nothing(documents, name)
    paths = () if STDIN in arguments else tuple(path for source in sources for path in source.paths)
    return Source(name, documents, paths, tuple(notice for source in sources for notice in source.notices))


def is_source(argument: str) -> bool:
    """Whether an argument names something to read, rather than being a text."""
    elsewhere = is_rows(argument) or is_remote(argument)
    here = argument in named.NAMES or os.path.exists(argument) or bool(_matches(argument))
    return argument == STDIN or elsewhere or here


def _matches(pattern: str) -> list[str]:
    """The files that a pattern finds; none where it is no pattern."""
    return sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True))) if glob.has_magic(pattern) else []


def _refuse_nothing(documents: Sequence[str], name: str) -> None:
    if not documents:
        raise CorpusError(f"{name} is empty; give a text")
    if len(documents) == 1 and len(documents[0]) == 1:
        raise CorpusError(f"{name} holds one character, so there is nothing to predict; give a longer text")


@dataclass(frozen=True)
class Found:
    """The files that an argument names, and how they are read."""

    name: str
    files: tuple[str, ...]
    paths: tuple[str, ...]
    """What finds them again."""
    config: DataConfig
    several: bool = False
    """Whether empty ones among them may be left out."""


def find_files(argument: str, config: DataConfig) -> Found:
    """The files of an argument that names some: a file, a folder, a glob, or a corpus that is a file.

    CorpusError says what is wrong in one line.
    """
    name = os.fsencode(Path(argument).name or argument).decode(errors="replace")
    if is_prepared(argument):
        raise CorpusError(
            f"{argument!r} is a prepared folder, tokens alone: train, look and ladder take it; here the text is wanted"
        )
    if os.path.isdir(argument):
        return Found(name, tuple(_text_files(argument)), (os.path.abspath(argument),), config, several=True)
    if os.path.exists(argument):
        path = os.path.abspath(argument)
        return Found(name, (path,), (path,), config)
    if argument in named.DOWNLOADABLE:
        item = named.DOWNLOADABLE[argument]
        config = replace(config, lines=config.lines or item.lines)
        return Found(argument, (str(named.named_file(item)),), (argument,), config)
    if glob.has_magic(argument):
        files = _matches(argument)
        pattern = os.path.join("" if os.path.isabs(argument) else glob.escape(os.getcwd()), argument)
        if not files:
            raise CorpusError(f"no file matches {argument!r}; check the pattern, and quote it")
        return Found(name, tuple(files), (pattern,), config, several=True)
    raise CorpusError(f"{argument!r} does not exist; {_suggestion(argument)}")


def carried_text(name: str) -> Source | None:
    """A corpus that is no file: carried by Python, or drawn; None for other names, and where a path is called so."""
    if os.path.exists(name):
        return None
    if name == named.PYTHON_DOCS:
        title, text = named.python_docs()
        return Source(title, (text,), (name,))
    if name == named.GRAMMAR:
        return Source(name, (grammar_text(),), (name,), (grammar_notice(),))
    return None


def joint_name(names: Sequence[str]) -> str:
    """What several sources are called together.

    >>> joint_name(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _read_argument(argument: str, config: DataConfig) -> Source:
    if argument == STDIN:
        return Source("standard input", tuple(read_documents(Path(STDIN), config)), ())
    if is_rows(argument):
        rows = find_rows(argument)
        return Source(rows.name, tuple(rows.documents(config)), (rows.argument,))
    if is_remote(argument):
        return _read_remote(argument, config)
    return carried_text(argument) or _read_files(find_files(argument, config))


def _read_remote(url: str, config: DataConfig) -> Source:
    """The documents of files somewhere else, copied here one at a time."""
    documents: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for file in remote_files(url, TEXT_SUFFIXES):
            copy = Path(folder, file.name)
            fetch(file, copy)
            documents += read_documents(copy, config, file.url)
            copy.unlink()
    return Source(url.rstrip("/").rpartition("/")[2], tuple(documents), (url,))


def _read_files(found: Found) -> Source:
    """The documents of files; of several, empty ones are left out with a notice."""
    documents: list[str] = []
    empty: list[str] = []
    for file in found.files:
        read = read_documents(Path(os.path.abspath(file)), found.config)
        documents += read
        if found.several and not read:
            empty.append(os.path.basename(file))
    notice = f"{len(empty)} empty file(s) left out, such as {empty[0]!r}" if empty else ""
    return Source(found.name, tuple(documents), found.paths, (notice,) if notice else ())


def _text_files(folder: str) -> list[str]:
    """Paths of the text files under a folder, sorted; CorpusError when there is none."""

    def refuse(error: OSError) -> None:
        raise CorpusError(f"{error.filename!r} cannot be read ({error.strerror}); check its permissions")

    found: list[str] = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        candidates = (os.path.join(parent, name) for name in files if _is_text(name))
        found += filter(os.path.isfile, candidates)
    if not found:
        kinds = ", ".join(TEXT_SUFFIXES)
        raise CorpusError(f"folder {folder!r} holds no text files ({kinds}); name the files, or give a glob")
    return sorted(found)


def _is_text(name: str) -> bool:
    return not name.startswith(".") and name.lower().removesuffix(".gz").endswith(TEXT_SUFFIXES)


def _suggestion(argument: str) -> str:
    """What the user may have meant: a neighbour of the missing path, or a named corpus."""
    folder, name = os.path.split(argument.rstrip(os.sep))
    try:
        neighbours = [found for found in os.listdir(folder or ".") if found != name]
    except OSError:
        neighbours = []
    near = difflib.get_close_matches(name, [*neighbours, *(() if folder else named.NAMES)], n=1)
    if near:
        return f"did you mean {os.path.join(folder, near[0])!r}?"
    return f"give a file, a folder, a glob, '-', or one of {', '.join(named.NAMES)}"
