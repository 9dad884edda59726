"""A text costs twice its own memory while it is read, and one that would fill the machine's is refused."""

import gzip
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from anything import Read, read
from sabotage import TEXT, call

from clearhead.config import DataConfig, TokenizerConfig
from clearhead.data.reading import read_documents
from clearhead.tokenizers.byte import ByteTokenizer
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer

FLOOR = 8 << 20


def peak_of(act: Callable[[], Read]) -> tuple[Read, int]:
    """What an act gives, and the most bytes that Python held meanwhile beyond those before."""
    tracemalloc.start()
    try:
        return act(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


SIZE = 12 << 20
PROSE = (TEXT * (SIZE // len(TEXT) + 1))[:SIZE]
SWOLLEN: dict[str, tuple[str, bytes, DataConfig]] = {
    "plain": ("a.txt", PROSE.encode(), DataConfig()),
    "wide": ("a.txt", ("日" + PROSE[: SIZE // 2]).encode(), DataConfig()),
    "no UTF-8": ("a.txt", b"\xff" * (SIZE // 4), DataConfig(errors="replace")),
    "lines": ("a.txt", PROSE.encode(), DataConfig(lines=True)),
    "short lines": ("a.txt", b"tea\r\n" * (SIZE // 20), DataConfig(lines=True)),
    "nothing but ends": ("a.txt", b"\n" * SIZE, DataConfig(lines=True)),
    "packed": ("a.txt.gz", gzip.compress(PROSE.encode(), 1), DataConfig()),
    "rows": ("a.jsonl", b"\n".join([json.dumps({"text": TEXT}).encode()] * (SIZE // 200)), DataConfig()),
    "long rows": ("a.jsonl", b"\n".join([json.dumps({"text": TEXT * 2_000}).encode()] * 40), DataConfig()),
}


@pytest.mark.parametrize("kind", SWOLLEN)
def test_reading_takes_twice_the_memory_of_its_text_at_most(tmp_path, kind):
    name, content, config = SWOLLEN[kind]
    path = tmp_path / name
    path.write_bytes(content)
    documents, peak = peak_of(lambda: read_documents(path, config))
    text = sum(map(sys.getsizeof, documents)) + sys.getsizeof(documents)
    assert peak <= 2 * max(text, len(content)) + FLOOR


LETTERS = b"a" * (1 << 20)
BOMBS: dict[str, Callable[[], bytes]] = {
    "bomb.txt": lambda: gzip.compress(LETTERS) * 200,
    "bomb.jsonl.gz": lambda: gzip.compress(b'{"text": "' + LETTERS * 100 + b'"}', 6),
}
"""Two hundred megabytes of one letter in two hundred kilobytes, and one hundred in a row of JSON."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_would_fill_the_memory_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(BOMBS[name]())
    packed = (tmp_path / name).stat().st_size
    refused, peak = peak_of(lambda: read(lambda: read_documents(tmp_path / name, DataConfig())))
    assert refused is None
    assert peak < max(64 << 20, 100 * packed) * 1.13 + 2 * packed + FLOOR
    assert "times its" in call("look", tmp_path / name).err


def test_a_text_that_packs_well_is_not_refused(tmp_path):
    """Ten megabytes that pack to a hundredth: odd, and no danger."""
    path = tmp_path / "dull.txt.gz"
    path.write_bytes(gzip.compress(b"tea for two\n" * 900_000))
    assert path.stat().st_size * 100 < 10_800_000
    assert len(read_documents(path, DataConfig())[0]) == 10_800_000


def test_a_text_that_memory_does_not_hold_is_refused(tmp_path, monkeypatch):
    def refuse(self: Path) -> bytes:
        raise MemoryError

    (tmp_path / "a.txt").write_text(TEXT)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    said = call("look", tmp_path / "a.txt")
    assert said.code == 2
    assert "does not fit into this machine's memory; give a part of it" in said.err


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["char", "word", "byte"])
def test_a_tokenizer_of_every_character_there_is_holds_together(tokenizer):
    """All 1.1 million code points but surrogates: the widest tables."""
    every = "".join(map(chr, (*range(1, 0xD800), *range(0xE000, 0x110000))))
    kinds = {"char": CharTokenizer, "word": WordTokenizer, "byte": ByteTokenizer}
    made = kinds[TokenizerConfig(tokenizer=tokenizer).tokenizer].train([every])
    assert made.decode(made.encode(every)) == every
    assert made.hidden_characters(every) == 0
