"""A run in one file, for another machine: what is packed, and what is believed when it is unpacked."""

import re
from collections.abc import Callable
from pathlib import Path

from clearhead.data import store
from clearhead.errors import CheckpointError, ConfigError, CorpusError
from clearhead.files import check_room, folder_atomic
from clearhead.runs.checkpoint import FILES, MANIFEST, files_of
from clearhead.runs.container import Reader, Writer, reading, writing
from clearhead.runs.corpus import carried_tokens, open_data
from clearhead.runs.directory import FIXED, POINTERS, RunDirectory, free_name
from clearhead.runs.portable import portable_corpus, portable_events
from clearhead.runs.records import read_json, to_json
from clearhead.runs.sharded import is_shard
from clearhead.runs.verification import Report, verify_run

SUFFIX = ".clearhead.zip"
TOKEN_FILES = (store.TRAIN, store.VAL, store.META)

_PLAIN_NAME = re.compile(r"\w[\w.-]{0,199}(?<!\.)")
_WINDOWS_NAME = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""Names that Windows gives to devices, whatever follows their dot."""


def default_archive(run: RunDirectory) -> Path:
    """The file that a run is exported to when none is named: in the folder one is in."""
    return Path(f"{_archived_name(run)}{SUFFIX}")


def export_run(
    run: RunDirectory,
    target: Path,
    *,
    everything: bool = False,
    with_tokens: bool = False,
    seen: Callable[[int], None] = lambda size: None,
) -> int:
    """Write a run into one file and return how many files it holds.

    These are the fixed files, the events, `best`, `latest` and the checkpoints these name, and the mixture; with
    `everything` all checkpoints and TensorBoard's files; with `with_tokens` the ids of its text. No path of this
    machine goes along. The run is verified first (`seen` is told the size of each file read): CheckpointError where
    something that would be packed is not whole, CorpusError where tokens are asked for and not to be had.
    """
    folders = _folders(run, verify_run(run, seen), everything)
    tokens = _tokens(run) if with_tokens else None
    loose: dict[str, bytes | Path] = {name: run.path / name for name in FIXED}
    loose |= {run.corpus_file.name: portable_corpus(run), run.events_file.name: portable_events(run)}
    loose |= {which: run.path / which for which in POINTERS if (run.path / which).exists()}
    if everything:
        ours = f"{run.tensorboard.name}/"
        loose |= {name: file for name, file in run.loose_files().items() if name.startswith(ours) and _belongs(name)}
    if tokens is not None:
        loose |= {f"{run.tokens.name}/{name}": tokens / name for name in TOKEN_FILES}
    with writing(target) as archive:
        _pack(archive, run, loose, folders)
    return archive.files


def _pack(archive: Writer, run: RunDirectory, loose: dict[str, bytes | Path], folders: list[Path]) -> None:
    top = _archived_name(run)
    digests = {name: archive.add(f"{top}/{name}", content) for name, content in loose.items()}
    archive.add(f"{top}/{run.manifest_file.name}", to_json(digests).encode())
    for folder in folders:
        for name in (*files_of(read_json(folder / MANIFEST)), MANIFEST):
            archive.add(f"{top}/{folder.relative_to(run.path).as_posix()}/{name}", folder / name)


def _folders(run: RunDirectory, report: Report, everything: bool) -> list[Path]:
    """The checkpoints to pack; CheckpointError where one of them, or a file outside of them, is not whole."""
    named = {step for which in POINTERS if (step := run.pointer(which)) is not None}
    if run.pointer("latest") is None:
        raise CheckpointError(f"run {run.path} has no latest checkpoint to take along; clearhead resume {run.path}")
    broken = {"/".join(finding.where.split("/")[:2]) for finding in report.faults}
    names = {step: run.checkpoint(step).relative_to(run.path).as_posix() for step in run.steps()}
    wanted = [step for step in names if step in named or (everything and names[step] not in broken)]
    unwanted = {names[step] for step in names if step not in wanted}
    for finding in report.faults:
        if not any(f"{finding.where}/".startswith(f"{name}/") for name in unwanted):
            raise CheckpointError(f"run {run.path} is not whole: {finding}; see clearhead runs verify {run.path}")
    return [*map(run.checkpoint, wanted), *([run.mixture] if run.mixture.exists() else [])]


def _tokens(run: RunDirectory) -> Path:
    """The folder of the ids of a run's text: its own, or the one in the cache, filled where it has to be."""
    tokenizer = run.read_tokenizer()
    open_data(run, tokenizer)
    if run.tokens.is_dir():
        return run.tokens
    if (record := run.read_corpus()).get("prepared"):
        raise CorpusError(
            f"run {run.name} was trained on a prepared folder; export it alone, and copy {record['paths'][0]}"
        )
    found = store.find(record["sha256"], tokenizer.fingerprint)
    if found is None:
        raise CorpusError(f"the tokens of run {run.name} are not in the cache any more; export it again")
    return found[0]


def _archived_name(run: RunDirectory) -> str:
    """A run's name as every system takes it for a folder's."""
    name = re.sub(r"[^\w.-]+", "-", run.path.absolute().name).strip("-.")[:80]
    return name if _is_plain(name) else f"run-{name}".rstrip("-.")


def _is_plain(name: str) -> bool:
    return bool(_PLAIN_NAME.fullmatch(name)) and not _WINDOWS_NAME.fullmatch(name)


def import_run(
    file: Path, out: Path, name: str | None = None, *, seen: Callable[[int], None] = lambda size: None
) -> RunDirectory:
    """Unpack a run into a folder of its own in `out`, under the first free name, and return it.

    It appears verified and whole, or not at all. CheckpointError says in one line why an archive is refused,
    StorageError that the disk has no room for it; ConfigError that `name` is no folder's name.
    """
    if name is not None and not _is_plain(name):
        raise ConfigError(f"name={name!r} is no plain folder name; use letters, digits, dot, dash and underscore")
    with reading(file) as archive:
        top = _top(archive, file)
        check_room(out, archive.size)
        path = free_name(out, name or top)
        with folder_atomic(path) as aside:
            for member in archive.names:
                unpacked = aside / member.removeprefix(f"{top}/")
                if not unpacked.resolve().is_relative_to(aside.resolve()):  # a second lock behind `_top`
                    raise CheckpointError(f"{file} holds {member!r}, which leads out of its run; do not use it")
                unpacked.parent.mkdir(parents=True, exist_ok=True)
                archive.extract(member, unpacked)
            _check_unpacked(RunDirectory(aside), file, seen)
    return RunDirectory(path)


def _top(archive: Reader, file: Path) -> str:
    """The folder that all members lie in, its name plain; CheckpointError at a member that no run has.

    Members are not cleaned of what could lead elsewhere: only the exact names of a run's files pass.
    """
    top = next(iter(archive.names), "").partition("/")[0]
    for member in archive.names or [""]:
        folder, _, rest = member.partition("/")
        if folder != top or not _is_plain(top) or not _belongs(rest):
            raise CheckpointError(f"{file} holds {member!r}, which is no file of a run; do not use it")
    return top


def _belongs(name: str) -> bool:
    """Whether a run has a file of this name, with slashes."""
    run = RunDirectory(Path())
    folder, _, file = name.rpartition("/")
    if "/" not in name:
        return name in (*FIXED, *POINTERS, run.manifest_file.name, run.events_file.name)
    if folder == run.tokens.name:
        return file in TOKEN_FILES
    if folder == run.tensorboard.name:
        return _is_plain(file)
    top, _, inner = folder.partition("/")
    is_checkpoint = inner == run.mixture.name or re.fullmatch(r"step-(0|[1-9][0-9]{0,17})", inner)
    return top == run.checkpoints.name and bool(is_checkpoint) and (file in (*FILES, MANIFEST) or is_shard(file))


def _check_unpacked(run: RunDirectory, file: Path, seen: Callable[[int], None]) -> None:
    report = verify_run(run, seen)
    what = next(map(str, report.faults), "its manifest is not sealed" if not report.sealed else "")
    if what:
        raise CheckpointError(f"{file} holds a run that is not whole: {what}; export it again")
    if run.tokens.exists():
        try:
            carried_tokens(run, run.read_tokenizer())
        except CorpusError:
            raise CheckpointError(f"{file} holds tokens that are not its run's; export it again") from None
