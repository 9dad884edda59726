"""Is a run what was written? Every byte against its digest, every pointer against what it points to.

In a sealed run (see `RunDirectory.seal`) no bit can change unseen, no file be cut short or go missing: each file has a
digest in a manifest, and a manifest must be, to the letter, what Clearhead writes for these files.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearhead.errors import CheckpointError
from clearhead.files import sha256_file
from clearhead.runs.agreement import check_checkpoint, check_events, check_records
from clearhead.runs.checkpoint import MANIFEST, STATE, files_of
from clearhead.runs.directory import FIXED, POINTERS, RunDirectory
from clearhead.runs.records import read_json, to_json

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Finding:
    """What is wrong with a part of a run, or merely worth knowing."""

    where: str
    """Its name from the run's folder, with slashes."""
    what: str
    fault: bool = True

    def __str__(self) -> str:
        """One line, whatever names a damaged manifest holds."""
        return "".join(c if c.isprintable() else "?" for c in f"{self.where} {self.what}")


@dataclass(frozen=True)
class Report:
    """What `verify_run` found."""

    run: RunDirectory
    faults: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    sealed: bool
    """Whether the manifest vouches for every file; while a run trains it does not."""
    files: int
    """That were read."""
    size: int
    """Bytes of these."""

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


def verify_run(run: RunDirectory, seen: Callable[[int], None] = lambda size: None) -> Report:
    """Read all of a run and say what is wrong, whatever its bytes are. `seen` is told the size of each file read."""
    sizes: list[int] = []

    def digest_of(file: Path) -> str:
        digest = sha256_file(file)
        sizes.append(file.stat().st_size)
        seen(sizes[-1])
        return digest

    digests, found = _manifest(run)
    sealed = any(name not in FIXED for name in digests)
    found += _loose_files(run, digests, sealed, digest_of)
    damaged = {finding.where for finding in found if finding.fault}
    found += [Finding(where, what) for where, what in check_records(run) if where not in damaged]
    if run.events_file.name not in damaged:
        found += _events(run, sealed)
    found += _checkpoints(run, digest_of, agree=damaged.isdisjoint(FIXED))
    found += _pointers(run, sealed)
    faults, notes = (tuple(f for f in found if f.fault is fault) for fault in (True, False))
    return Report(run, faults, notes, sealed, len(sizes), sum(sizes))


def _manifest(run: RunDirectory) -> tuple[dict[str, Any], list[Finding]]:
    """The digests of the loose files, and what is wrong with them; none when the manifest is none."""
    name = run.manifest_file.name
    try:
        digests = _read_manifest(run.manifest_file)
    except CheckpointError as error:
        return {}, [Finding(name, str(error))]
    found = [Finding(name, f"does not know {fixed}") for fixed in FIXED if fixed not in digests]
    sealed = any(known not in FIXED for known in digests)
    for known, digest in digests.items():
        # While a run's configuration is replaced, the manifest knows the old and the new one.
        pair = isinstance(digest, list) and known == run.config_file.name and not sealed
        if not all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in (digest if pair else [digest])):
            found.append(Finding(name, f"has no SHA-256 for {known!r}"))
    return digests, found


def _read_manifest(path: Path) -> dict[str, Any]:
    """A manifest's object; CheckpointError where its bytes are not those that Clearhead writes for it."""
    if not path.is_file():
        raise CheckpointError("is missing")
    try:
        digests, data = read_json(path), path.read_bytes()
    except (CheckpointError, OSError):
        raise CheckpointError("cannot be read") from None
    written = to_json(digests).encode(errors="surrogatepass")
    if data not in (written, written.replace(b"\n", b"\r\n")):
        raise CheckpointError("is not written as Clearhead writes it")
    return digests


def _refused(error: OSError) -> str:
    return f"cannot be read ({error.strerror or error})"


def _loose_files(
    run: RunDirectory, digests: dict[str, Any], sealed: bool, digest_of: Callable[[Path], str]
) -> Iterator[Finding]:
    # Names are looked up in the listing: a manifest that names ../x reads nothing, and on every system case counts.
    try:
        files = run.loose_files()
    except OSError as error:
        yield Finding(".", _refused(error))
        return
    for name in sorted({*FIXED, *digests}):
        if name not in files:
            yield Finding(name, "is missing")
        elif name in digests:
            digest = digests[name]
            try:
                if digest_of(files[name]) not in (digest if isinstance(digest, list) else [digest]):
                    yield Finding(name, "has changed: its SHA-256 is not the manifest's")
            except OSError as error:
                yield Finding(name, _refused(error))
    for name in files.keys() - digests.keys() - {*FIXED} if sealed else ():
        yield Finding(name, "is not in the manifest", fault=name in (run.events_file.name, *POINTERS))


def _events(run: RunDirectory, sealed: bool) -> Iterator[Finding]:
    if run.events_file.is_file():
        try:
            faults, cut = check_events(run.events_file)
        except OSError as error:
            faults, cut = [_refused(error)], False
        yield from (Finding(run.events_file.name, fault) for fault in faults)
        if cut:
            yield Finding(run.events_file.name, "ends within a line, as after a kill", fault=sealed)


def _checkpoints(run: RunDirectory, digest_of: Callable[[Path], str], *, agree: bool) -> Iterator[Finding]:
    """Findings on every folder; where the records are whole, on how they agree with them too."""
    top, steps = run.checkpoints.name, {run.checkpoint(step) for step in run.steps()}
    if not run.checkpoints.is_dir():
        yield Finding(f"{top}/", "is missing")
        return
    for folder in sorted(run.checkpoints.iterdir()):
        where = f"{top}/{folder.name}"
        if folder == run.mixture or folder in steps:
            faults = list(_checkpoint(folder, digest_of))
            if agree and not faults:
                faults = [(STATE, what) for what in check_checkpoint(run, folder)]
            if folder.exists():  # a run that is being trained deletes its old ones
                yield from (Finding(f"{where}/{file}".rstrip("/"), what) for file, what in faults)
        elif ".broken" in folder.name:
            yield Finding(where, "was set aside as broken; delete it when you do not need it", fault=False)
        elif folder.name.endswith(".tmp"):
            yield Finding(where, "was being written when its process ended; delete it", fault=False)
        else:
            yield Finding(where, "is nothing that Clearhead makes", fault=False)


def _checkpoint(folder: Path, digest_of: Callable[[Path], str]) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of the bytes of a checkpoint's folder."""
    try:
        digests, there = _read_manifest(folder / MANIFEST), {file.name for file in folder.iterdir()}
        files = files_of(digests)
        if digests.keys() != {*files}:
            yield MANIFEST, f"does not name {', '.join(files)} and nothing else"
            return
        for name in files:
            if name not in there:
                yield name, "is missing"
            elif digest_of(folder / name) != digests[name]:
                yield name, "is damaged: its SHA-256 is not the manifest's"
        for name in sorted(there - {*files, MANIFEST}):
            if not name.startswith("."):
                yield name, "does not belong into a checkpoint"
    except CheckpointError as error:
        yield MANIFEST, str(error)
    except OSError as error:
        yield "", _refused(error)


def _pointers(run: RunDirectory, sealed: bool) -> Iterator[Finding]:
    for which in POINTERS:
        step = run.pointer(which) if (run.path / which).is_file() else None
        if step is not None and not run.checkpoint(step).is_dir():
            yield Finding(which, f"points to step-{step}, which is not there")
        elif step is None and (run.path / which).exists():
            yield Finding(which, "names no checkpoint")
    if run.steps() and run.pointer("latest") is None and not (run.path / "latest").exists():
        yield Finding("latest", "is missing", fault=sealed)


def looks_like_run(path: Path) -> bool:
    """Whether a folder is a run, or what is left of one."""
    run = RunDirectory(path)
    marks = (run.config_file, run.tokenizer_file, run.corpus_file, run.checkpoints)
    return run.manifest_file.exists() or sum(mark.exists() for mark in marks) >= 2


def runs_to_verify(out: Path) -> list[RunDirectory]:
    """All that is a run in a folder, or what is left of one, by name."""
    paths = (path for path in sorted(out.glob("*")) if not path.name.startswith("."))
    return [RunDirectory(path) for path in paths if looks_like_run(path)]
