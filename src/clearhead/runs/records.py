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
