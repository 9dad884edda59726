"""Corpora that have a name: found here, fetched and verified, or carried by Python itself."""

import hashlib
import platform
import threading
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from clearhead.errors import CorpusError
from clearhead.files import sha256_file, storing, write_atomic
from clearhead.runtime import cache_dir, corpora_dirs

PYTHON_DOCS = "python-docs"
"""The help texts that every CPython carries; they differ between its versions."""

_LARGEST = 1 << 24
"""Bytes after which a download is given up: no named corpus is that large."""


@dataclass(frozen=True)
class NamedCorpus:
    """A public text with a well-known address."""

    name: str
    file: str
    sha256: str
    address: str
    lines: bool = False
    """Every line is a document."""


DOWNLOADABLE = {
    "shakespeare": NamedCorpus(
        "shakespeare",
        "tinyshakespeare.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    ),
    "names": NamedCorpus(
        "names",
        "names.txt",
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
        "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt",
        lines=True,
    ),
}

GRAMMAR = "grammar"
"""Sentences of our own that `data.grammar` draws: words whose meaning and entropy are known."""

NAMES = (*DOWNLOADABLE, PYTHON_DOCS, GRAMMAR)


def default_corpus(patience: float = 5.0) -> str:
    """The corpus when none is given: "shakespeare" where it is here or arrives in time, else "python-docs"."""
    item = DOWNLOADABLE["shakespeare"]
    if find_local(item):
        return item.name
    try:
        download(item, patience)
    except CorpusError:
        return PYTHON_DOCS
    return item.name


def named_file(item: NamedCorpus) -> Path:
    """The verified file of a named corpus, downloaded when it is not here; CorpusError when it cannot be had."""
    return find_local(item) or download(item)


def find_local(item: NamedCorpus) -> Path | None:
    """The corpus in the folders of `runtime.corpora_dirs`; CorpusError when a file of that name differs."""
    for path in (folder / item.file for folder in corpora_dirs()):
        if path.is_file():
            try:
                found = sha256_file(path)
            except OSError as error:
                raise CorpusError(f"{str(path)!r} cannot be read ({error.strerror}); check its permissions") from None
            if found != item.sha256:
                raise CorpusError(
                    f"{str(path)!r} is not the corpus '{item.name}': its SHA-256 begins {found[:12]}, "
                    f"not {item.sha256[:12]}; remove it, or give it by its path"
                )
            return path
    return None


def download(item: NamedCorpus, patience: float = 30.0) -> Path:
    """Fetch a corpus into the cache and verify it; CorpusError when it does not come within `patience` seconds.

    The wait is a thread's, because looking up a host can hang for longer than any socket's time limit.
    """
    answer: list[bytes | str] = []
    worker = threading.Thread(target=_fetch, args=(item.address, patience, answer), daemon=True)
    worker.start()
    worker.join(patience)
    data = answer[0] if answer else f"no answer within {patience:g} seconds"
    if isinstance(data, bytes) and (found := hashlib.sha256(data).hexdigest()) != item.sha256:
        data = f"its SHA-256 begins {found[:12]}, not {item.sha256[:12]}"
    if isinstance(data, str):
        raise CorpusError(
            f"corpus '{item.name}' is not here and cannot be downloaded ({data}); put {item.file} into a folder "
            f"named by CLEARHEAD_CORPORA, or use {PYTHON_DOCS}"
        )
    path = cache_dir() / "corpora" / item.file
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)
    return path


def python_docs() -> tuple[str, str]:
    """(name, text) of the help texts of this Python, topics sorted; CorpusError where it comes without them."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise CorpusError(f"this Python lacks the texts of '{PYTHON_DOCS}' (pydoc_data); give a file") from None
    return f"{PYTHON_DOCS} (Python {platform.python_version()})", "\n".join(topics[key] for key in sorted(topics))


def _fetch(address: str, timeout: float, answer: list[bytes | str]) -> None:
    """Put the bytes, or the reason why there are none, into `answer`."""
    try:
        with urllib.request.urlopen(address, timeout=timeout) as response:
            answer.append(response.read(_LARGEST))
    except (OSError, HTTPException, ValueError) as error:
        answer.append(str(getattr(error, "reason", error)))
