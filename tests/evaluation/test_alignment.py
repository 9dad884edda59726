"""Every tokenizer's losses on the same pieces of the text."""

import math

import numpy as np
import pytest

from clearhead.config import DataConfig, RunConfig, TokenizerConfig
from clearhead.data.prepare import prepare
from clearhead.errors import ConfigError
from clearhead.evaluation.alignment import Scored, align
from clearhead.evaluation.loss import measured

WORDS = ["rain", "wind", "naïve", "hill", "the", "“quoted”", "sea,", "moon"]


@pytest.fixture
def text(tmp_path):
    """Lines of one to six words, with characters of one to three bytes; the end has words of its own."""
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(WORDS, size=rng.integers(1, 7))) for _ in range(400)]
    lines[-20:] = [f"{line} unheard" for line in lines[-20:]]
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def scored(text, seed: int | None = None, lines: bool = False, **tokenizer) -> Scored:
    """A run that needs a bit for each character; with a seed, whatever comes."""
    config = RunConfig(data=DataConfig(lines=lines), tokenizer=TokenizerConfig(**tokenizer))
    found = prepare(config, [str(text)])
    ids = found.data.ids("val")
    if seed is None:
        nats = np.array([math.log(2) * len(found.tokenizer.decode([token])) for token in ids])[1:]
    else:
        nats = np.random.default_rng(seed).random(len(ids) - 1)
    return Scored(config.tokenizer.tokenizer, "gpt", found.tokenizer, found.data, nats)


def test_one_tokenizer_is_compared_token_by_token(text):
    runs = [scored(text, 1), scored(text, 2)]
    pieces = align(runs)
    assert np.allclose(pieces.bits, np.stack([run.losses for run in runs]) / math.log(2))
    assert pieces.characters.tolist() == [2.0] + [1.0] * (len(runs[0].losses) - 1)


@pytest.mark.parametrize("lines", [False, True])
def test_tokenizers_meet_at_line_ends(text, lines):
    runs = [scored(text, lines=lines), scored(text, lines=lines, tokenizer="word")]
    pieces = align(runs)
    val = runs[0].data.ids("val")
    shown = runs[0].tokenizer.decode(val)
    if lines:  # the first end-of-text costs nothing and is a piece of its own
        assert len(pieces.characters) == 1 + np.count_nonzero(val == runs[0].tokenizer.eot_id) - 1
    else:
        assert pieces.characters.tolist() == [len(line) for line in shown.splitlines(keepends=True)]
        assert np.array_equal(pieces.bits[0][1:], pieces.characters[1:])
    assert pieces.characters.sum() == runs[0].data.meta.characters["val"]


def test_bytes_and_characters_of_a_line_are_the_same_line(text):
    char, byte = scored(text, 1), scored(text, 2, tokenizer="byte")
    pieces = align([char, byte])
    shown = char.tokenizer.decode(char.data.ids("val"))
    start = {"char": 0, "byte": 0}
    losses = {run.run: np.concatenate([[0.0], run.losses]) for run in (char, byte)}
    for number, line in enumerate(shown.splitlines(keepends=True)):
        for row, (name, size) in enumerate((("char", len(line)), ("byte", len(line.encode())))):
            nats = losses[name][start[name] : start[name] + size].sum()
            assert pieces.bits[row, number] == pytest.approx(nats / math.log(2))
            start[name] += size
    assert start["byte"] == len(losses["byte"])


def test_all_bits_are_those_of_the_ladder(text):
    """Hidden characters and separators cost what they cost there."""
    for lines in (False, True):
        runs = [
            scored(text, 1, lines),
            scored(text, 2, lines, tokenizer="byte"),
            scored(text, 3, lines, tokenizer="word"),
            scored(text, 4, lines, tokenizer="word", vocab_size=8),
        ]
        assert runs[3].data.meta.hidden["val"] > 0
        pieces = align(runs)
        for bits, run in zip(pieces.bits, runs, strict=True):
            loss = measured(float(run.losses.sum()), run.data, "val")
            assert bits.sum() / pieces.characters.sum() == pytest.approx(loss.bits_per_char)


def test_a_tokenizer_that_hides_line_ends_is_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(("rain wind hill " * 20 + "\n") * 40, encoding="utf-8")
    with pytest.raises(ConfigError, match="line ends of the same text"):
        align([scored(path, 1), scored(path, 2, tokenizer="word", vocab_size=4)])
