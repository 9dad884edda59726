"""Anything at all, to be read in place of a file; and what reading it has to come to."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from clearhead.errors import ClearheadError

Read = TypeVar("Read")

QUICK, FULL = 100, 5_000
"""Examples of each kind."""
SLOW_EXAMPLE = 5_000
"""Milliseconds: an example that takes longer hangs."""


def read(reader: Callable[[], Read]) -> Read | None:
    """What a reader gives; None where it refuses, which takes one printable line."""
    try:
        return reader()
    except ClearheadError as error:
        line = str(error)
        assert line
        assert line.isprintable(), repr(line)
        assert len(line) < 1_000
        return None


def fuzz(check: Callable[[Any], None], values: SearchStrategy[Any], count: int, known: list[Any]) -> None:
    """Hold a property against that many values, and first against those that once broke it."""
    held = given(values)(check)
    for value in known:
        held = example(value)(held)
    unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    settings(max_examples=count, deadline=SLOW_EXAMPLE, suppress_health_check=unhurried)(held)()


NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 1 << 31, 1 << 63, 1 << 64, 10**30, 10**4_000, 65_536])
)
TEXTS = st.text(st.characters(), max_size=20)
"""Lone surrogates too: JSON can escape them."""
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
DEEP = st.builds(
    lambda mark, depth: mark * depth, st.sampled_from([b"[", b'{"a":', b'[{"name":']), st.integers(1, 40_000)
)


def as_json(value: Any) -> bytes:
    """A document; of a number too long for Python's printing, its digits all the same."""
    return json.dumps(value).encode() if isinstance(value, dict | list) else json.dumps(value, default=str).encode()


@st.composite
def edited(draw: st.DrawFn, original: bytes) -> bytes:
    """A file with a few bytes flipped, cut, doubled or put in."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "cut", "double", "insert", "end"])):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                del data[at:]
    return bytes(data)


@st.composite
def misstated(draw: st.DrawFn, original: dict[str, Any]) -> bytes:
    """A JSON object in which some value, at any depth, is another one, missing, or joined by one more."""
    document = json.loads(json.dumps(original))
    inside: Any = document
    while True:
        key = draw(st.sampled_from([*(inside if isinstance(inside, dict) else range(len(inside)))]))
        if not isinstance(inside[key], dict | list) or not inside[key] or draw(st.booleans()):
            break
        inside = inside[key]
    match draw(st.sampled_from(["replace", "replace", "drop", "add"])):
        case "drop":
            del inside[key]
        case "add" if isinstance(inside, dict):
            inside[draw(TEXTS)] = draw(JSON)
        case _:
            inside[key] = draw(JSON)
    return as_json(document)
