"""Hints on the tokenizer: said where something measured speaks for another, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest

from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.training import suiting
from clearhead.training.suiting import tokenizer_hints


def hints(poem: Path, **tokenizer: object) -> list[str]:
    config = RunConfig().with_settings(tokenizer)
    prepared = prepare(config, [str(poem)])
    train = replace(config.train, max_iters=10, batch_size=10, block_size=10)
    return list(tokenizer_hints(prepared.tokenizer, prepared.data, train))


def test_bpe_on_a_text_as_short_as_those_that_were_measured(poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = hints(poem, tokenizer="bpe", vocab_size=270)[0]
    assert "on a text of 8,286 characters" in line
    assert "char is worth a try" in line
    monkeypatch.setattr(suiting, "MEASURED_CHARACTERS", 5_000)
    assert not any("worth a try" in line for line in hints(poem, tokenizer="bpe", vocab_size=270))


def test_a_vocabulary_that_occurs_too_seldom(poem: Path) -> None:
    line = hints(poem, tokenizer="bpe", vocab_size=300)[-1]
    assert "of its 300 tokens occur fewer than 10 times" in line
    assert line.endswith("try char"), "512 would be more"


@pytest.mark.parametrize("tokenizer", ["char", "byte", "word"])
def test_nothing_speaks_against_these(poem: Path, tokenizer: str) -> None:
    assert hints(poem, tokenizer=tokenizer) == []
