"""Anything at all in place of a file: it is read as what it says, or refused in one line.

Never another exception, never a hang; and what is read holds together: it can be written and read again, encoded and
decoded.
"""

import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anything import DEEP, FULL, JSON, NUMBERS, QUICK, TEXTS, as_json, edited, fuzz, misstated, read
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sabotage import TEXT

from clearhead.config import DataConfig, RunConfig
from clearhead.data.corpus import split
from clearhead.data.reading import read_documents
from clearhead.data.sources import Source
from clearhead.fields import load_config
from clearhead.tokenizers.base import load_tokenizer, token_bytes
from clearhead.tokenizers.bpe import BPETokenizer
from clearhead.tokenizers.byte import ByteTokenizer
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer

SAMPLES = ["", "The cat, who can?\n", " naïve \r\n\t日本 e\u0301\U0001f600"]
TOKENIZERS = {
    "char": CharTokenizer.train([TEXT], eot=True, unk=True).to_dict(),
    "word": WordTokenizer.train([TEXT, TEXT.upper()], unk=True).to_dict(),
    "word in lower case": WordTokenizer.train([TEXT], lowercase=True).to_dict(),
    "byte": ByteTokenizer(eot=True).to_dict(),
    "bpe": BPETokenizer.train([TEXT], vocab_size=270, eot=True).to_dict(),
}
TOKENIZER_FILES = st.one_of(
    JSON.map(as_json),
    st.binary(max_size=60),
    DEEP,
    *(misstated(described) for described in TOKENIZERS.values()),
    *(edited(as_json(described)) for described in TOKENIZERS.values()),
    st.builds(
        lambda characters, eot, unk: as_json({"name": "char", "characters": characters, "eot": eot, "unk": unk}),
        st.one_of(TEXTS, TEXTS.map(lambda text: "".join(sorted(set(text))))),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        lambda words, flags: as_json(
            {"name": "word", "words": words, "eot": flags[0], "unk": flags[1], "lowercase": flags[2]}
        ),
        st.lists(st.one_of(TEXTS, JSON), max_size=6),
        st.tuples(st.booleans(), st.booleans(), st.booleans()),
    ),
)
KNOWN_TOKENIZERS = [
    b'{"name": "x\\ny"}',
    b'{"name": "' + b"a" * 100_000 + b'"}',
    b'{"name": ' + b"9" * 5_000 + b"}",
    b'{"name": ["char"]}',
    b'{"name": {"char": 1}}',
    b'{"name": "word", "words": ["\\ud800", "\\udc00"], "eot": false, "unk": false, "lowercase": false}',
    b'{"name": "char", "characters": "ab", "eot": false, "unk": false, "x\\ny": 1}',
    b'{"name": "char", "characters": "ab", "eot": false, "eot": true, "unk": false}',
]


def check_tokenizer(content: bytes) -> None:
    """What is read can be written again, and its texts come back from its ids."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_bytes(content)
        tokenizer = read(lambda: load_tokenizer(path))
    if tokenizer is None:
        return
    described = json.loads(json.dumps(tokenizer.to_dict()))
    assert type(tokenizer).from_dict(described).fingerprint == tokenizer.fingerprint
    assert len(token_bytes(tokenizer)) == tokenizer.vocab_size
    ids = range(tokenizer.vocab_size)
    assert all(tokenizer.token_text(i).isprintable() for i in ids)
    assert tokenizer.decode_bytes(ids).decode(errors="replace") == tokenizer.decode(ids)
    for text in (*SAMPLES, tokenizer.decode(ids)):
        if not tokenizer.unknown(text):
            expected = text.lower() if getattr(tokenizer, "lowercase", False) else text
            assert tokenizer.decode(tokenizer.encode(text)) == expected
            assert tokenizer.hidden_characters(text) == 0
        elif (encoded := read(lambda text=text: tokenizer.encode(text))) is not None:
            assert tokenizer.unk_id in encoded.tolist()


# Configurations

TOML = RunConfig().to_toml()
TOML_VALUES = st.one_of(
    NUMBERS.map(str),
    TEXTS.map(json.dumps),
    st.sampled_from(["true", "1979-05-27", "[]", "{}", "nan", "-inf", '["a"]', "0x" + "f" * 5_000, "9" * 5_000, "''"]),
)


@st.composite
def resettings(draw: st.DrawFn) -> bytes:
    """The default configuration with other values, in other places, twice or not at all."""
    lines = TOML.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["value", "value", "name", "drop", "double"])):
            case "value":
                lines[at] = f"{lines[at].partition(' = ')[0]} = {draw(TOML_VALUES)}"
            case "name":
                lines[at] = f"{json.dumps(draw(TEXTS))} = {draw(TOML_VALUES)}"
            case "drop":
                lines[at] = ""
            case _:
                lines.append(lines[at])
    return "\n".join(lines).encode("utf-8", "surrogatepass")


CONFIG_FILES = st.one_of(st.binary(max_size=60), TEXTS.map(lambda t: t.encode("utf-8", "replace")), resettings(),
                         edited(TOML.encode()), DEEP.map(lambda deep: b"x = " + deep))  # fmt: skip
KNOWN_CONFIGS = [
    b"[train]\nmax_iters = " + b"9" * 5_000,
    b"[train]\nmax_iters = 0x" + b"f" * 5_000,
    b"[train]\nlearning_rate = 1" + b"0" * 400,
    b"[train]\nwarmup_iters = 99999999999999999999",
    b"[architecture]\nffn_width = 99999999999999999999",
    b"[architecture]\nn_embd = 3\nn_head = 0x" + b"f" * 5_000,
    b"[data]\nerrors = 'surrogateescape'",
    b'"a\\nb" = 1',
    b'preset = "a\\nb"',
    b'[train]\ndecay = "a\\u001b[31mb"',
    b'"' + b"a" * 100_000 + b'" = 1',
    b"a." * 50_000 + b"b = 1",
    b"x = " + b"[" * 100_000,
]


def check_config(content: bytes) -> None:
    """What is read is a configuration: it can be written and read again, and makes a GPT's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_bytes(content)
        config = read(lambda: RunConfig().updated(load_config(path)))
        if config is not None:
            path.write_text(config.to_toml(), encoding="utf-8")
            assert RunConfig().updated(load_config(path)) == config
            read(lambda: config.gpt(65))


# Texts

ROWS = st.lists(
    st.one_of(
        JSON.map(as_json), st.fixed_dictionaries({"text": st.one_of(TEXTS, JSON)}).map(as_json), st.binary(max_size=9)
    ),
    max_size=5,
).map(b"\n".join)
PLAIN = st.one_of(st.binary(max_size=80), TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")), ROWS, DEEP)
PACKED = st.builds(gzip.compress, PLAIN)
TEXT_FILES = st.tuples(
    st.sampled_from(["a.txt", "a.jsonl", "a.txt.gz", "a.JSONL.GZ", "a"]),
    st.one_of(PLAIN, PACKED, PACKED.flatmap(edited), st.builds(lambda a, b: a + b, PACKED, PACKED)),
    st.builds(DataConfig, lines=st.booleans(), errors=st.sampled_from(["strict", "replace"])),
)
KNOWN_TEXTS = [
    ("a.jsonl", b'{"text": ' + b"9" * 5_000 + b"}", DataConfig()),
    ("a.jsonl", b'{"text": "\\ud800"}', DataConfig(errors="replace")),
    ("a.jsonl", b"[" * 100_000, DataConfig()),
    ("a.txt", "tea".encode("utf-32"), DataConfig()),
    ("a.txt", b"\xef\xbb\xbf\xef\xbb\xbf", DataConfig()),
    ("a.txt.gz", gzip.compress(b"a" * (70 << 20)), DataConfig()),
    ("a.txt.gz", gzip.compress(b"tea") + b"\0" * 99, DataConfig()),
    ("a.txt.gz", gzip.compress(gzip.compress(b"tea")), DataConfig()),
]


def check_text(file: tuple[str, bytes, DataConfig]) -> None:
    """Documents are texts that have a UTF-8 form, and together they are the file; no character is lost in the split."""
    name, content, config = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        documents = read(lambda: read_documents(path, config))
    if not documents:
        return
    assert all(document and "\0" not in document for document in documents)
    assert len("".join(documents).encode()) >= len(documents)
    if "jsonl" not in name.lower():
        plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        expected = plain.removeprefix(b"\xef\xbb\xbf").decode("utf-8", config.errors)
        assert documents == (_lines(expected) if config.lines else [expected])
    corpus = split(Source("a", tuple(documents), ()))
    assert sum(map(len, (*corpus.train, *corpus.val))) == sum(map(len, documents))
    assert sum(map(len, (*corpus.fit, *corpus.dev))) == sum(map(len, corpus.train))


def _lines(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line]


FUZZED: dict[str, tuple[Callable[[Any], None], SearchStrategy[Any], list[Any]]] = {
    "tokenizer": (check_tokenizer, TOKENIZER_FILES, KNOWN_TOKENIZERS),
    "config": (check_config, CONFIG_FILES, KNOWN_CONFIGS),
    "text": (check_text, TEXT_FILES, KNOWN_TEXTS),
}


@pytest.mark.parametrize("kind", FUZZED)
def test_a_file_of_anything(kind):
    check, values, known = FUZZED[kind]
    fuzz(check, values, QUICK, known)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FUZZED)
def test_many_files_of_anything(kind):
    check, values, known = FUZZED[kind]
    fuzz(check, values, FULL, known)
