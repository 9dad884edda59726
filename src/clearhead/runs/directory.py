"""Every path inside a run's folder, and how a folder is made and found."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearhead.config import RunConfig
from clearhead.errors import CheckpointError, did_you_mean
from clearhead.fields import load_config
from clearhead.files import flush, folder_atomic, sha256_file, storing, write_atomic
from clearhead.runs.records import describes_text, read_json, to_json
from clearhead.tokenizers.base import Tokenizer, load_tokenizer, save_tokenizer

FIXED = ("config.toml", "tokenizer.json", "corpus.json", "environment.json")
"""What the manifest vouches for from the beginning: it does not change while a run trains."""
POINTERS = ("best", "latest")
"""Files that name a checkpoint."""


@dataclass(frozen=True)
class RunDirectory:
    """A run on disk. Nothing is read until it is asked for."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @property
    def config_file(self) -> Path:
        """The effective configuration."""
        return self.path / "config.toml"

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer, whole."""
        return self.path / "tokenizer.json"

    @property
    def corpus_file(self) -> Path:
        """Where the text came from, and its fingerprints."""
        return self.path / "corpus.json"

    @property
    def environment_file(self) -> Path:
        """The machine and the versions."""
        return self.path / "environment.json"

    @property
    def events_file(self) -> Path:
        """One JSON object a line, appended while training."""
        return self.path / "events.jsonl"

    @property
    def manifest_file(self) -> Path:
        """SHA-256 of the files outside checkpoints: of those that never change, and once sealed of all."""
        return self.path / "manifest.json"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's files."""
        return self.path / "tensorboard"

    @property
    def tokens(self) -> Path:
        """The folder of token ids, in a run that was imported with them."""
        return self.path / "tokens"

    @property
    def checkpoints(self) -> Path:
        """The folder of step-N folders."""
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """The folder of one checkpoint."""
        return self.checkpoints / f"step-{step}"

    @property
    def mixture(self) -> Path:
        """The folder of the mixture that a run of `--model mixture` ends with."""
        return self.checkpoints / "mixture"

    @property
    def lock_file(self) -> Path:
        """Held by the process that trains the run."""
        return self.path / ".lock"

    def set_aside(self, step: int) -> None:
        """Keep a broken checkpoint under another name, where nothing takes it for one."""
        number = 1
        while (aside := self.checkpoints / f"step-{step}.broken{'' if number == 1 else f'-{number}'}").exists():
            number += 1
        self.checkpoint(step).rename(aside)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, ascending."""
        found = (re.fullmatch(r"step-(\d{1,18})", p.name) for p in self.checkpoints.glob("step-*"))
        return sorted(int(match[1]) for match in found if match)

    def pointer(self, which: str) -> int | None:
        """The step that `best` or `latest` points to; None when it points nowhere."""
        try:
            match = re.fullmatch(r"step-(\d{1,18})", (self.path / which).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError):
            return None
        return int(match[1]) if match else None

    def unpoint(self, which: str) -> None:
        """Let `best` or `latest` point nowhere."""
        with storing(self.path / which):
            (self.path / which).unlink(missing_ok=True)

    def point(self, which: str, step: int) -> None:
        """Let `best` or `latest` point to a step. A small file, for Windows has no links for everyone."""
        write_atomic(self.path / which, _pointing(step))

    def read_config(self) -> RunConfig:
        """The effective configuration of the run."""
        values = load_config(self.config_file)
        return RunConfig().updated(values)

    def read_tokenizer(self) -> Tokenizer:
        """The run's tokenizer."""
        return load_tokenizer(self.tokenizer_file)

    def read_corpus(self) -> dict[str, Any]:
        """The corpus's name, arguments, paths and fingerprints; CheckpointError when the file is broken."""
        record = read_json(self.corpus_file)
        if not describes_text(record):
            raise CheckpointError(f"{self.corpus_file} describes no text; restore it from a copy, or train again")
        return record

    def read_events(self) -> list[dict[str, Any]]:
        """All events so far, up to a line that is none: a last one cut short by a crash is left out."""
        events: list[dict[str, Any]] = []
        try:
            lines = self.events_file.read_bytes().split(b"\n")  # samples hold other line ends, such as U+2028
        except OSError:
            return []
        for line in lines:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not (isinstance(event, dict) and isinstance(event.get("event"), str) and type(event.get("step")) is int):
                break
            events.append(event)
        return events

    def size(self) -> int:
        """Bytes on disk."""
        return sum(p.stat().st_size for p in self.path.rglob("*") if p.is_file())

    def replace_config(self, config: RunConfig) -> None:
        """Put another effective configuration in. Whenever this is cut short, the manifest knows what lies there."""
        digests, text = read_json(self.manifest_file), config.to_toml()
        # Not what the manifest says: where this was cut short before, it knows two.
        before, after = sha256_file(self.config_file), hashlib.sha256(text.encode()).hexdigest()
        write_atomic(self.manifest_file, to_json({**digests, self.config_file.name: [before, after]}))
        write_atomic(self.config_file, text)
        write_atomic(self.manifest_file, to_json({**digests, self.config_file.name: after}))

    def read_manifest(self) -> dict[str, Any]:
        """SHA-256 by name from the run's folder, with slashes; of `config.toml` two while it is being replaced."""
        return read_json(self.manifest_file)

    def loose_files(self) -> dict[str, Path]:
        """The files that a sealed manifest vouches for, by name from the run's folder, with slashes.

        All but the manifest, the checkpoints (which have their own) and what is hidden: the lock, half-written files.
        """
        found: dict[str, Path] = {}
        for entry in sorted(self.path.iterdir()):
            if entry not in (self.manifest_file, self.checkpoints):
                for file in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
                    name = file.relative_to(self.path).as_posix()
                    if file.is_file() and not any(part.startswith(".") for part in name.split("/")):
                        found[name] = file
        return found

    def seal(self) -> None:
        """Let the manifest vouch for every loose file: training has ended. What it knows already stays as it is."""
        with storing(self.manifest_file):
            digests = self.read_manifest()
            for name, file in self.loose_files().items():
                if name not in digests:
                    flush(file)  # a power cut must not leave a manifest of bytes that never reached the disk
                    digests[name] = sha256_file(file)
                elif isinstance(digests[name], list):
                    digests[name] = next((d for d in digests[name] if d == sha256_file(file)), digests[name])
        write_atomic(self.manifest_file, to_json(digests))

    def unseal(self) -> None:
        """Take the files that training changes out of the manifest again."""
        digests = self.read_manifest()
        kept = {name: digest for name, digest in digests.items() if name in FIXED}
        if kept != digests:
            write_atomic(self.manifest_file, to_json(kept))

    def verify(self) -> None:
        """CheckpointError when a file that loading goes by is not the one that was written.

        These are the fixed files, and of a sealed run the pointers, which decide what is loaded: a few small files.
        Events and TensorBoard's files may be long and decide nothing; `verify_run` reads them too.
        """
        digests = self.read_manifest()
        for name in (*FIXED, *(pointer for pointer in POINTERS if pointer in digests)):
            file, digest = self.path / name, digests.get(name)
            if not file.is_file() or sha256_file(file) not in (digest if isinstance(digest, list) else [digest]):
                state = "has changed since the run was made" if file.exists() else "is missing"
                raise CheckpointError(f"{file} {state}; {self._remedy(digest)}")

    def _remedy(self, digest: object) -> str:
        """What to do about a changed file: what a pointer held can be found out from its digest."""
        for step in self.steps():
            if hashlib.sha256(_pointing(step).encode()).hexdigest() == digest:
                return f"it held {_pointing(step).strip()}: write that into it"
        return "restore it from a copy, or train again"


def _pointing(step: int) -> str:
    return f"step-{step}\n"


def create_run(
    out: Path,
    name: str,
    *,
    config: RunConfig,
    tokenizer: Tokenizer,
    corpus: dict[str, Any],
    environment: dict[str, Any],
) -> RunDirectory:
    """A new run's folder with all but its checkpoints, under the first free name: `name`, `name-2`, ...

    It appears whole or not at all; a folder that exists is never touched.
    """
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
    path = free_name(out, name)
    with folder_atomic(path) as aside:
        draft = RunDirectory(aside)
        draft.config_file.write_text(config.to_toml(), encoding="utf-8")
        save_tokenizer(tokenizer, draft.tokenizer_file)
        draft.corpus_file.write_text(to_json(corpus), encoding="utf-8")
        draft.environment_file.write_text(to_json(environment), encoding="utf-8")
        draft.manifest_file.write_text(to_json({n: sha256_file(draft.path / n) for n in FIXED}), encoding="utf-8")
        draft.checkpoints.mkdir()
        flush(draft.checkpoints)
    return RunDirectory(path)


def free_name(out: Path, name: str) -> Path:
    """The first path that does not exist: `name`, `name-2`, ..."""
    number = 1
    while (path := out / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return path


def all_runs(out: Path) -> list[RunDirectory]:
    """The runs in a folder, oldest first."""
    found = (RunDirectory(p.parent) for p in out.glob("*/manifest.json") if not p.parent.name.startswith("."))
    return sorted(found, key=lambda run: (run.manifest_file.stat().st_mtime_ns, run.name))


def is_run(path: Path) -> bool:
    """Whether a path is a run's folder."""
    return (path / "manifest.json").is_file() and (path / "config.toml").is_file()


def find_run(run: str | Path | None, out: Path) -> RunDirectory:
    """A run by its path or its name in `out`; the newest with a checkpoint when none is named.

    CheckpointError when there is none.
    """
    runs = all_runs(out)
    if run is None:
        if not runs:
            raise CheckpointError(f"no run in {out}; make one with: clearhead train, or name a run's folder")
        return next((found for found in reversed(runs) if found.steps()), runs[-1])
    for path in (Path(run), out / run):
        if is_run(path):
            return RunDirectory(path)
    if Path(run).is_dir():
        raise CheckpointError(
            f"{run} is a folder but no run: it has no manifest.json; name a folder that train printed"
        )
    raise CheckpointError(_no_such_run(str(run), out, (r.name for r in runs)))


def _no_such_run(run: str, out: Path, names: Iterable[str]) -> str:
    known = list(names)
    return f"no run '{run}' in {out}: " + (did_you_mean(run, known) if known else "make one with: clearhead train")
