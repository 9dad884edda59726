"""A request's body is JSON, and nothing that Python merely takes for it."""

import json
import re

from clearhead.serving.errors import ApiError

MAX_NESTING = 32
"""Brackets within brackets; the deepest of ours has 4."""
MAX_DIGITS = 64
"""Of one number: Python takes quadratic time for long ones."""
_STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)  # never tries a place twice
_BRACKETS = re.compile(r"[\[\]{}]")
_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")


def check_json(body: bytes) -> None:
    """ApiError (400) for what is no JSON in UTF-8, or nested too deeply to be read safely.

    >>> check_json(b'{"prompt": "[[[ NaN"}')
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start} is not UTF-8") from None
    bare = _STRINGS.sub("", text)
    if _nesting(bare) > MAX_NESTING:
        raise _malformed(f"it is nested more than {MAX_NESTING} deep")
    if _LONG_NUMBER.search(bare):
        raise _malformed(f"a number has more than {MAX_DIGITS} digits")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        if r"\u" in text:  # half of a surrogate pair cannot be sent back
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _malformed("a string holds half of a surrogate pair") from None
    except ValueError as error:
        raise _malformed(str(error)) from None


def _nesting(bare: str) -> int:
    depth = most = 0
    for bracket in _BRACKETS.findall(bare):
        depth += 1 if bracket in "[{" else -1
        most = max(most, depth)
    return most


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _malformed(reason: str) -> ApiError:
    return ApiError(400, f"the body is no JSON: {reason}", code="invalid_json")
