"""Hints on the tokenizer: said where something measured speaks for another, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest

from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.training import suiting
from clearhead.training.suiting import tokenizer_hints


def hints(poem: Path, max_iters: int = 10, **tokenizer: object) -> list[str]:
    config = RunConfig().with_settings(tokenizer)
    prepared = prepare(config, [str(poem)])
    train = replace(config.train, max_iters=max_iters, batch_size=10, block_size=10)
    return list(tokenizer_hints(prepared.tokenizer, prepared.data, train))


@pytest.fixture
def _as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poem is as long as the texts that were measured on."""
    monkeypatch.setattr(suiting, "LEAST_CHARACTERS", 1_000)


@pytest.mark.usefixtures("_as_measured")
def test_characters_in_a_short_time(poem: Path) -> None:
    (line,) = hints(poem)
    assert "the text is read 0.1 times; --tokenizer bpe --vocab_size 512" in line
    assert hints(poem, 1_000) == [], "it is read many times, and that was not measured"


@pytest.mark.usefixtures("_as_measured")
def test_a_large_vocabulary(poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("suits this text better" in line for line in hints(poem, tokenizer="bpe", vocab_size=270))
    monkeypatch.setattr(suiting, "BEST_SIZE", 64)
    assert "--vocab_size 64 suits this text better" in hints(poem, tokenizer="bpe", vocab_size=270)[0]


def test_a_vocabulary_that_occurs_too_seldom(poem: Path) -> None:
    (line,) = hints(poem, tokenizer="bpe", vocab_size=300)
    assert "of its 300 tokens occur fewer than 10 times" in line
    assert line.endswith("try char"), "512 would be more"


@pytest.mark.parametrize("tokenizer", ["char", "byte", "word"])
def test_of_other_texts_nothing_is_said(poem: Path, tokenizer: str) -> None:
    assert hints(poem, tokenizer=tokenizer) == []
