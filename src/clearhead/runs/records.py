"""The JSON files of a run: one object each, written alike."""

import json
from pathlib import Path
from typing import Any

from clearhead.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; CheckpointError when there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); restore it from a copy, or train again") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds no JSON object; restore it from a copy, or train again")
    return data


def to_json(values: dict[str, Any]) -> str:
    """A JSON object as every record of a run is written."""
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


_RECORD = {"name": str, "paths": list, "sha256": str, "val_sha256": str, "documents": dict, "characters": dict}
"""What corpus.json holds at least, and of which kind."""


def describes_text(record: dict[str, Any]) -> bool:
    """Whether a record is one that `corpus_record` writes: a stranger's may name standard input, or count in words."""
    blocks = record.get("blocks", {"characters": 1, "digests": []})
    return (
        all(isinstance(record.get(key), kind) for key, kind in _RECORD.items())
        and all(isinstance(path, str) and path != "-" for path in record["paths"])
        and all(type(record[key].get(part)) is int for key in ("documents", "characters") for part in ("train", "val"))
        and isinstance(blocks, dict)
        and isinstance(blocks.get("digests"), list)
        and type(size := blocks.get("characters")) is int
        and size > 0
    )
