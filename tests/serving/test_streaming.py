"""A stream says what the whole answer says, byte for byte, and never half a character."""

from typing import Any

import pytest

from serving.live import Live


def joined(chunks: list[Any]) -> dict[int, dict[str, Any]]:
    """The choices of a stream, put together."""
    whole: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            mine = whole.setdefault(choice["index"], {"text": "", "finish_reason": None, "logprobs": None})
            assert mine["finish_reason"] is None, "nothing comes after the end"
            mine["text"] += choice["text"]
            mine["finish_reason"] = choice["finish_reason"]
            if choice["logprobs"] is not None:
                mine["logprobs"] = mine["logprobs"] or {name: [] for name in choice["logprobs"]}
                for name, values in choice["logprobs"].items():
                    mine["logprobs"][name] += values
    return whole


@pytest.mark.parametrize(
    "asked",
    [
        {"max_tokens": 80},
        {"max_tokens": 80, "n": 3, "prompt": ["The ", "and the "]},
        {"model": "verse", "prompt": "Der Wind", "max_tokens": 150, "temperature": 0},
        {"model": "verse", "prompt": "Der Wind", "max_tokens": 90, "n": 4, "temperature": 2.0, "logprobs": 3},
        {"model": "verse", "prompt": "Ł", "max_tokens": 120, "logprobs": 1, "echo": True},
        {"model": "verse", "prompt": "Der Wind", "max_tokens": 150, "temperature": 0, "stop": ["雨 und 😀", "F"]},
        {"model": "names", "prompt": "", "max_tokens": 40, "n": 5, "logprobs": 0},
        {"max_tokens": 0},
        {"max_tokens": 0, "echo": True, "logprobs": 2},
        {"max_tokens": 3, "echo": True},
    ],
    ids=str,
)
def test_a_stream_equals_the_whole(live: Live, asked: dict[str, Any]):
    whole = live.complete(**asked).json
    chunks = live.stream(**asked)
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    streamed = joined(chunks)
    for choice in whole["choices"]:
        assert streamed[choice.pop("index")] == choice
    assert len(streamed) == len(whole["choices"])


def test_bytes_become_whole_characters(live: Live):
    text = live.complete(model="verse", prompt="Der Wind", max_tokens=110, temperature=0).json["choices"][0]["text"]
    assert {"ö", "風", "😀"} <= set(text)
    chunks = live.stream(model="verse", prompt="Der Wind", max_tokens=110, temperature=0)
    pieces = [choice["text"] for chunk in chunks for choice in chunk["choices"]]
    assert len(pieces) > 2
    assert not any("\ufffd" in piece for piece in pieces[:-1])


def test_usage_comes_when_it_is_asked_for(live: Live):
    plain = live.stream(max_tokens=5)
    assert all("usage" not in chunk for chunk in plain)
    *chunks, last = live.stream(max_tokens=5, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}
