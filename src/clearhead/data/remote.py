"""Texts and prepared folders on object stores and other file systems that fsspec knows: `s3://`, `gs://`, `memory://`.

Everything is copied to this machine before it is read: texts into the folder that is being prepared, prepared folders
into the cache, each shard checked by its hash. Range reads would wait for the network in every step of training.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearhead.data.manifest import MANIFEST, TOKENIZER, Manifest, read_manifest
from clearhead.errors import ClearheadError, CorpusError
from clearhead.files import open_atomic, sha256_file, storing, write_atomic
from clearhead.runtime import cache_dir

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_PIECE = 1 << 22


@dataclass(frozen=True)
class RemoteFile:
    """A file somewhere else."""

    url: str
    size: int

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.url.rstrip("/").rpartition("/")[2]


def is_remote(argument: str) -> bool:
    """Whether an argument is an address, scheme://path (one letter is a drive of Windows)."""
    return _SCHEME.match(argument) is not None


def remote_files(url: str, suffixes: tuple[str, ...]) -> list[RemoteFile]:
    """The files of an address: a file, those that a glob finds, or of a folder those with a suffix, gzipped or not.

    CorpusError where there are none, or the address cannot be asked.
    """
    with _asking(url) as (system, path):
        if any(sign in path for sign in "*?["):
            found = [name for name in sorted(system.glob(path)) if system.isfile(name)]
        elif system.isdir(path):
            names = sorted(system.find(path))
            found = [name for name in names if name.lower().removesuffix(".gz").endswith(suffixes)]
        else:
            found = [path] if system.exists(path) else []
        if not found:
            raise CorpusError(f"{url!r} does not exist, or holds no text files ({', '.join(suffixes)}); check it")
        return [RemoteFile(system.unstrip_protocol(name), int(system.size(name) or 0)) for name in found]


def fetch(file: RemoteFile, target: Path) -> None:
    """Copy a file to this machine; whole or not there. CorpusError where it cannot be read."""
    with _asking(file.url) as (system, path), system.open(path, "rb") as remote, open_atomic(target) as copy:
        shutil.copyfileobj(remote, copy, _PIECE)


def is_prepared_remotely(url: str) -> bool:
    """Whether an address is a prepared folder."""
    with _asking(url) as (system, path):
        return bool(system.isfile(f"{path}/{MANIFEST}") and system.isfile(f"{path}/{TOKENIZER}"))


def local_folder(url: str) -> Path:
    """A prepared folder's copy in the cache: what is missing is fetched, and checked by the manifest's hashes."""
    with _asking(url) as (system, path):
        manifest = system.cat_file(f"{path}/{MANIFEST}")
        folder = cache_dir() / "shards" / hashlib.sha256(manifest).hexdigest()[:16]
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if not (folder / MANIFEST).exists():
            aside = folder / "incoming"
            with storing(folder):
                aside.mkdir(exist_ok=True)
            write_atomic(aside / MANIFEST, manifest)
            for name, sha256 in _files(read_manifest(aside)):
                _fetch_checked(RemoteFile(f"{url.rstrip('/')}/{name}", 0), folder / name, sha256)
            shutil.rmtree(aside)
            write_atomic(folder / MANIFEST, manifest)  # last: then the copy is whole
    return folder


def _files(manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    yield TOKENIZER, None
    for shard in manifest.shards:
        yield shard.file, shard.sha256
        yield shard.index, shard.documents_sha256


def _fetch_checked(file: RemoteFile, target: Path, sha256: str | None) -> None:
    if sha256 is not None and target.exists() and sha256_file(target) == sha256:
        return
    fetch(file, target)
    if sha256 is not None and sha256_file(target) != sha256:
        target.unlink()
        raise CorpusError(f"{file.url} is not what its manifest says; upload the prepared folder again")


@contextmanager
def _asking(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of an address and the path in it; what goes wrong inside the block becomes one line."""
    from fsspec.core import url_to_fs

    try:
        yield url_to_fs(url)
    except ClearheadError:
        raise
    except FileNotFoundError:
        raise CorpusError(f"{url!r} does not exist; check the address") from None
    except ImportError as error:  # fsspec says which package: "Install s3fs to access S3"
        raise CorpusError(f"{url!r} cannot be read here: {_first(error)}; pip install it") from None
    except Exception as error:  # each file system has errors of its own
        raise CorpusError(f"{url!r} cannot be read ({_first(error)}); check the address and who may read it") from None


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
