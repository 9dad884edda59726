"""Hints on the tokenizer: said where something measured speaks for another, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest

from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.training import suiting
from clearhead.training.suiting import tokenizer_hints


def hints(poem: Path, max_iters: int, **tokenizer: object) -> list[str]:
    config = RunConfig().with_settings(tokenizer)
    prepared = prepare(config, [str(poem)])
    train = replace(config.train, max_iters=max_iters, batch_size=10, block_size=10)
    return list(tokenizer_hints(prepared.tokenizer, prepared.data, train))


def test_a_long_text_that_is_hardly_read_by_characters(poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hints(poem, 10) == [], "of a short text there is not enough to learn pairs from"
    monkeypatch.setattr(suiting, "LEAST_CHARACTERS", 1_000)
    (line,) = hints(poem, 10)
    assert "0.1 times the text" in line
    assert "--tokenizer bpe (--vocab_size 4096)" in line
    assert hints(poem, 1_000) == [], "it is read many times"
    assert hints(poem, 10, tokenizer="bpe", vocab_size=260) != [line]


def test_a_vocabulary_that_occurs_too_seldom(poem: Path) -> None:
    (line,) = hints(poem, 10, tokenizer="bpe", vocab_size=300)
    assert "of its 300 tokens occur fewer than 10 times" in line
    assert "--vocab_size 512" in line or "char" in line
    assert hints(poem, 10, tokenizer="word") == []
    assert hints(poem, 10, tokenizer="byte") == []
