"""What is no JSON does not become a value; and looking costs time in proportion, whatever is sent."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.serving.errors import ApiError
from clearhead.serving.strict_json import check_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_all_json_passes(value: object, ascii_only: bool):
    check_json(json.dumps(value, ensure_ascii=ascii_only).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1} {}',
        b'"\xff"',
        '{"a": 1}'.encode("utf-16"),
        b"[" * 33 + b"]" * 33,
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b'{"a": ' + b"9" * 65 + b"}",
        rb'"\ud800"',
        rb'{"\udfff": 1}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_the_rest_is_refused(body: bytes):
    with pytest.raises(ApiError) as refused:
        check_json(body)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")
    refused.value.body()


def test_brackets_and_constants_in_strings_mean_nothing():
    check_json(json.dumps({"[" * 50: "NaN" + "9" * 100, "a": '"\\' * 50}).encode())
    check_json(rb'{"a": "\ud83d\ude00 \\ud800"}')


@pytest.mark.parametrize("unit", ['\\"', '"', "\\", "[", "{", '{"', "1,", '"\\'])
def test_no_body_is_slow_to_refuse(unit: str):
    """In proportion to the length: eight times as much takes nowhere near 64 times as long."""

    def seconds(length: int) -> float:
        body = ('"' + unit * (length // len(unit))).encode()
        start = time.process_time()
        with pytest.raises(ApiError):
            check_json(body)
        return time.process_time() - start

    assert min(seconds(80_000) for _ in range(3)) < 40 * max(min(seconds(10_000) for _ in range(3)), 5e-4)
