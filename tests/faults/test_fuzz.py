"""Anything at all in place of a file: it is read as what it says, or refused in one line.

Never another exception, never a hang; and what is read holds together: it can be written and read again, encoded and
decoded.
"""

import gzip
import json
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sabotage import TEXT, cache_of_tests, call, copy_of, make_run, reseal
from safetensors.torch import load_file

import clearhead
from clearhead.config import DataConfig, RunConfig, TokenizerConfig
from clearhead.data import store
from clearhead.data.corpus import split
from clearhead.data.prepare import prepare
from clearhead.data.reading import read_documents
from clearhead.data.sources import Source
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ClearheadError
from clearhead.fields import load_config
from clearhead.runs.checkpoint import load_checkpoint
from clearhead.runs.directory import RunDirectory
from clearhead.tokenizers.base import load_tokenizer, token_bytes
from clearhead.tokenizers.byte import ByteTokenizer
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer
from clearhead.training.progress import Progress

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


# Tokenizers

SAMPLES = ["", "The cat, who can?\n", " naïve \r\n\t日本 e\u0301\U0001f600"]
TOKENIZERS = {
    "char": CharTokenizer.train([TEXT], eot=True, unk=True).to_dict(),
    "word": WordTokenizer.train([TEXT, TEXT.upper()], unk=True).to_dict(),
    "word in lower case": WordTokenizer.train([TEXT], lowercase=True).to_dict(),
    "byte": ByteTokenizer(eot=True).to_dict(),
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


# The files of a run, and the tokens of its text


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    with cache_of_tests(tmp_path_factory):
        return make_run(tmp_path_factory.mktemp("fuzz"), "--model", "bigram")


def files_of(run: RunDirectory) -> list[str]:
    """The names of a run's files from its folder: its own, and those of one checkpoint."""
    step = run.checkpoint(run.steps()[-1])
    own = [path for path in run.path.iterdir() if path.is_file() and path.name != ".lock"]
    return sorted(path.relative_to(run.path).as_posix() for path in (*own, *step.iterdir()))


RUN_FILES = (
    *("best", "config.toml", "corpus.json", "environment.json", "events.jsonl", "latest", "manifest.json"),
    *("checkpoints/step-4/manifest.json", "checkpoints/step-4/model.safetensors"),
    *("checkpoints/step-4/optimizer.safetensors", "checkpoints/step-4/state.json", "tokenizer.json"),
)
COUNTS = {"train": 1, "dev": 0, "val": 1}
RECORD = {"name": "a", "paths": [], "sha256": "a", "val_sha256": "b", "documents": COUNTS, "characters": COUNTS}
KNOWN_RUN_FILES: dict[str, list[bytes]] = {
    "best": [b"step-" + b"9" * 5_000, b"\xff\xfe../../step-1", "step-٤".encode()],
    "latest": [b"step-" + b"9" * 5_000],
    "events.jsonl": [b"\xff", b"[1]\n", b"null\n", b"{}\n", b"[" * 100_000, b'{"event": "evaluated", "step": 2}\n',
                     b'{"event": "evaluated", "step": 2, "best": true, "val": "low"}\n'],
    "corpus.json": [b"{}", as_json(RECORD | {"paths": [[]]}), as_json(RECORD | {"paths": [None]}),
                    as_json(RECORD | {"paths": ["-"]}), as_json(RECORD | {"sha256": "0", "blocks": 3}),
                    b'{"name": 3}', b'{"name": "[/b]", "paths": 5}'],
    "manifest.json": [b"{}", b'{"config.toml": 3}', b'{"../config.toml": "a"}', b'{"a\\u0000b": "a"}'],
}  # fmt: skip


def values_for(original: bytes, name: str) -> SearchStrategy[bytes]:
    """Files in place of one: edited ones, unlike ones, and where it is JSON, ones that say something else."""
    anything = [edited(original), st.binary(max_size=60), JSON.map(as_json), DEEP]
    if name.endswith(".json"):
        anything += [misstated(json.loads(original))] * 3
    if name.endswith(".jsonl"):
        lines = original.splitlines()
        anything += [
            misstated(json.loads(line)).map(lambda odd: b"\n".join([lines[0], odd, b""])) for line in lines[1:4]
        ]
    return st.one_of(anything)


def check_run(run: RunDirectory, weights: dict[str, Any]) -> None:
    """Whatever a run's files say, every reader reads or refuses."""
    read(run.verify)
    read(run.read_config)
    read(run.read_tokenizer)
    read(run.read_corpus)
    events = run.read_events()
    assert all(isinstance(event["event"], str) and isinstance(event["step"], int) for event in events)
    assert all(run.pointer(which) is None or run.pointer(which) in range(1 << 60) for which in ("best", "latest"))
    for step in run.steps():
        checkpoint = read(lambda step=step: load_checkpoint(run, step))
        if checkpoint is not None:
            assert checkpoint.step == step
            found = checkpoint.model.state_dict()
            assert {name: tensor.shape for name, tensor in found.items()} == weights
            assert all(bool(tensor.isfinite().all()) for tensor in found.values())
            read(lambda checkpoint=checkpoint: Progress.of(checkpoint.state))
    used = read(lambda: clearhead.load(run.path))
    if used is not None:
        assert isinstance(read(lambda: used.generate("The", max_new_tokens=2)), str | None)
        read(lambda: used.data)
    assert call("runs", "--out", run.path.parent).code == 0


def fuzz_run(finished: RunDirectory, folder: Path, name: str, count: int) -> None:
    run = copy_of(finished, folder)
    kept = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    shapes = {key: tensor.shape for key, tensor in load_file(run.checkpoint(4) / "model.safetensors").items()}

    def check(content: bytes) -> None:
        (run.path / name).write_bytes(content)
        try:
            check_run(run, shapes)  # the hashes differ
            reseal(run)
            check_run(run, shapes)  # and now they agree
        finally:
            for path, original in kept.items():
                path.write_bytes(original)

    fuzz(check, values_for(kept[run.path / name], name), count, KNOWN_RUN_FILES.get(name, []))


def test_every_file_of_a_run_is_among_the_fuzzed(finished):
    assert files_of(finished) == sorted(RUN_FILES)


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_run_in_which_a_file_is_anything(finished, tmp_path, name):
    fuzz_run(finished, tmp_path, name, QUICK // 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN_FILES)
def test_many_runs_in_which_a_file_is_anything(finished, tmp_path, name):
    fuzz_run(finished, tmp_path, name, FULL // 25)


def fuzz_cache(folder: Path, count: int) -> None:
    path = folder / "text.txt"
    path.write_text(TEXT * 20, encoding="utf-8")
    prepared = prepare(RunConfig(), [str(path)])
    corpus, fingerprint = prepared.corpus, prepared.tokenizer.fingerprint
    place = store.folder_of(corpus.sha256, fingerprint)
    original = (place / store.META).read_bytes()

    def check(content: bytes) -> None:
        (place / store.META).write_bytes(content)
        assert TokenDataset.find(corpus.sha256, fingerprint) is None or json.loads(content) == json.loads(original)
        _let_digest_agree(place / store.META)
        data = TokenDataset.find(corpus.sha256, fingerprint)
        if data is not None:
            assert all(
                data.ids(name).max(initial=0) < prepared.tokenizer.vocab_size for name in ("train", "dev", "val")
            )
            assert len(data.ids("counts")) == prepared.data.meta.tokens["counts"]
            assert set(data.meta.characters) == {"train", "dev", "val", "counts"}
        again = prepare(RunConfig(), [str(path)]).data
        assert again.ids("counts").tolist() == prepared.data.ids("counts").tolist()

    values = st.one_of(
        edited(original), misstated(json.loads(original)), JSON.map(as_json), DEEP, st.binary(max_size=40)
    )
    known = [
        json.dumps(json.loads(original) | {name: None}).encode() for name in ("tokens", "hidden", "dtype", "sha256")
    ]
    fuzz(check, values, count, [b"{}", b"[]", b"null", b'{"digest": 1}', b'{"digest": {}, "name": []}', *known])


def _let_digest_agree(path: Path) -> None:
    try:
        values = json.loads(path.read_bytes())
        values.pop("digest", None)
        digest = store.TokenMeta(**values).digest
        path.write_text(json.dumps({**values, "digest": digest}))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return


def test_a_token_cache_that_says_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    fuzz_cache(tmp_path, QUICK)


@pytest.mark.slow
def test_many_token_caches_that_say_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    fuzz_cache(tmp_path, FULL // 5)


# Memory

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
