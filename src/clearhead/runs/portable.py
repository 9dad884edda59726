"""A run's records as another machine may read them: without the paths of this one."""

import json
import re
from typing import Any

from clearhead.runs.directory import RunDirectory
from clearhead.runs.records import to_json

_ABSOLUTE = re.compile(r"""(?<![\w.\\/])(?:[A-Za-z]:)?(?:[\\/][^\s\\/'":;,|<>()]+){2,}[\\/]?""")
"""A path of two parts or more from the root of a file system."""


def portable_corpus(run: RunDirectory) -> bytes:
    """corpus.json with the texts' names alone: what names a corpus, or a file in the reader's own folder."""
    record = run.read_corpus()
    return to_json({**record, "paths": [_last(path) for path in record["paths"]]}).encode()


def portable_events(run: RunDirectory) -> bytes:
    """events.jsonl up to its last whole line, with names in place of paths; what a model wrote stays as it is."""
    lines = []
    for line in run.events_file.read_bytes().splitlines(keepends=True) if run.events_file.is_file() else ():
        if line.endswith(b"\n"):
            event: dict[str, Any] = json.loads(line)
            bare = {key: _bare(run, value) if key in ("run", "message") else value for key, value in event.items()}
            lines.append(line if bare == event else (json.dumps(bare, ensure_ascii=False) + "\n").encode())
    return b"".join(lines)


def _bare(run: RunDirectory, value: Any) -> Any:
    """A text without absolute paths: of the run's own folder its name is left, of others their last part."""
    if not isinstance(value, str):
        return value
    for own in {str(run.path.absolute()), str(run.path.resolve())}:
        value = value.replace(own, run.name)
    return _ABSOLUTE.sub(lambda found: _last(found[0].rstrip("\\/")), value)


def _last(path: str) -> str:
    return re.split(r"[\\/]", path)[-1]
