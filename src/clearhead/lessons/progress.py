"""What a student has done, kept between sessions in the user's state folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clearhead.files import storing, write_atomic
from clearhead.lessons.predicting import Outcome
from clearhead.runtime import state_dir

BROKEN = ".broken"


@dataclass(frozen=True)
class Done:
    """A lesson that was finished, as it went the last time."""

    corpus: str
    when: str
    """UTC, ISO 8601."""
    seconds: float
    outcomes: tuple[Outcome, ...]

    @classmethod
    def now(cls, corpus: str, seconds: float, outcomes: list[Outcome]) -> "Done":
        """Finished this moment."""
        return cls(corpus, datetime.now(UTC).isoformat(timespec="seconds"), round(seconds, 1), tuple(outcomes))


def progress_file() -> Path:
    """Where progress is kept."""
    return state_dir() / "lessons.json"


def read_progress() -> tuple[dict[str, Done], str | None]:
    """What was done, by slug; and a line where the file was broken and has been set aside."""
    path = progress_file()
    try:
        content = path.read_bytes()
    except OSError:
        return {}, None
    try:
        return {slug: _done(record) for slug, record in json.loads(content)["lessons"].items()}, None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        aside = path.with_name(path.name + BROKEN)
        with storing(aside):
            path.replace(aside)
        return {}, f"what you had done could not be read; it is set aside as {aside}, and the list begins anew"


def keep(slug: str, done: Done) -> None:
    """Add a lesson to what was done; StorageError when the disk refuses."""
    path = progress_file()
    known, _ = read_progress()
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    records = {name: asdict(one) for name, one in {**known, slug: done}.items()}
    write_atomic(path, json.dumps({"lessons": records}, ensure_ascii=False, indent=1) + "\n")


def _done(record: Mapping[str, Any]) -> Done:
    outcomes = tuple(Outcome(**outcome) for outcome in record["outcomes"])
    return Done(str(record["corpus"]), str(record["when"]), float(record["seconds"]), outcomes)
