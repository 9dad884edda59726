"""Commands as a student types them."""

import shlex
from collections.abc import Iterator
from typing import Any

FLAGS = {"block": "layer", "other": "patch", "analogies": "analogy", "dimensions": "dimension"}
"""Settings of views whose flag has another name."""


def line(verb: str, *words: str) -> str:
    """A command with its words quoted."""
    return shlex.join(["clearhead", verb, *words])


def escaped(text: str) -> str:
    """A text in one line."""
    return text.replace("\n", "\\n").replace("\t", "\\t")


def flags_of(settings: dict[str, Any]) -> Iterator[str]:
    """Settings as flags: True is a flag alone, several values stand behind one."""
    for name, value in settings.items():
        if value is None or value is False:
            continue
        yield f"--{FLAGS.get(name, name)}"
        if value is not True:
            yield from (escaped(str(item)) for item in _flat(value))


def _flat(value: Any) -> Iterator[Any]:
    if not isinstance(value, tuple | list):
        yield value
        return
    for item in value:
        yield from _flat(item)
