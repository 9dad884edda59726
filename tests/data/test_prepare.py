import json
import subprocess
import sys

import pytest

from clearhead.config import DataConfig, RunConfig, TokenizerConfig
from clearhead.data.corpus import read_corpus
from clearhead.data.prepare import prepare, retokenise, train_tokenizer
from clearhead.errors import ConfigError, TokenizerError
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer


def config(tokenizer: str = "char", lines: bool = False, **options: object) -> RunConfig:
    return RunConfig(
        data=DataConfig(lines=lines),
        tokenizer=TokenizerConfig(tokenizer=tokenizer, **options),  # type: ignore[arg-type]
    )


def test_a_text_needs_no_special_tokens(poem):
    prepared = prepare(config(), [str(poem)])
    assert isinstance(prepared.tokenizer, CharTokenizer)
    assert (prepared.tokenizer.eot_id, prepared.tokenizer.unk_id) == (None, None)
    assert prepared.tokenizer.decode(prepared.data.ids("val")) == prepared.corpus.val[0]


def test_documents_need_end_of_text(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"line {i:03} with some text" for i in range(500)))
    prepared = prepare(config(lines=True), [str(path)])
    assert prepared.tokenizer.eot_id is not None
    assert prepared.data.meta.separated


@pytest.mark.parametrize("where", [9_999, 8_950])
def test_unseen_characters_in_dev_or_validation_text_need_unknown(tmp_path, where):
    text = ["ab cd\n"[i % 6] for i in range(10_000)]
    text[where] = "§"
    path = tmp_path / "a.txt"
    path.write_text("".join(text), encoding="utf-8")
    prepared = prepare(config(), [str(path)])
    assert prepared.tokenizer.unk_id == prepared.tokenizer.vocab_size - 1
    assert sum(prepared.data.meta.hidden[split] for split in ("dev", "val")) == 1


def test_the_tokenizer_never_sees_dev_or_validation_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a" * 8_820 + "b" * 180 + "c" * 1_000)
    tokenizer = prepare(config(), [str(path)]).tokenizer
    assert isinstance(tokenizer, CharTokenizer)
    assert tokenizer.characters == "a"


def test_unknown_when_asked_for(poem):
    assert prepare(config(unk=True), [str(poem)]).tokenizer.unk_id is not None


def test_word_options_reach_the_tokenizer(poem):
    tokenizer = prepare(config("word", vocab_size=20, lowercase=True), [str(poem)]).tokenizer
    assert isinstance(tokenizer, WordTokenizer)
    assert (tokenizer.vocab_size, tokenizer.lowercase) == (20, True)


def test_vocab_size_holds_when_unknown_is_added(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one two three four\n" * 300 + "five\n" * 20)
    corpus = read_corpus([str(path)], DataConfig(), TokenizerConfig())
    exactly = WordTokenizer.train(corpus.fit).vocab_size
    tokenizer = train_tokenizer(corpus, TokenizerConfig(tokenizer="word", vocab_size=exactly))
    assert (tokenizer.vocab_size, tokenizer.unk_id) == (exactly, exactly - 1)
    assert WordTokenizer.train(corpus.fit, vocab_size=exactly).unk_id is None


def test_an_unknown_tokenizer_gets_a_suggestion(poem):
    with pytest.raises(ConfigError, match="did you mean 'char'"):
        prepare(config("chra"), [str(poem)])


def test_an_existing_tokenizer_is_used_as_it_is(poem):
    prepared = prepare(config(), [str(poem)])
    assert retokenise(prepared.corpus, prepared.tokenizer).meta == prepared.data.meta
    with pytest.raises(TokenizerError, match="--unk"):
        retokenise(prepared.corpus, CharTokenizer.train(["abc"]))


def test_tiny_shakespeare_has_the_lectures_ids(shakespeare):
    prepared = prepare(config(), [str(shakespeare)])
    assert prepared.tokenizer.vocab_size == 65
    assert prepared.tokenizer.encode("hii there").tolist() == [46, 47, 47, 1, 58, 46, 43, 56, 43]
    assert len(prepared.data.ids("counts")) == 1_003_854


MEASURE = """
import json, resource, sys, time
from clearhead.config import DataConfig, RunConfig
from clearhead.data.prepare import prepare
start = time.perf_counter()
prepared = prepare(RunConfig(data=DataConfig(lines=sys.argv[2] == "lines")), [sys.argv[1]])
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "characters": sum(prepared.data.meta.characters[split] for split in ("counts", "val")),
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured in Linux units")
@pytest.mark.parametrize("documents", ["one", "lines"])
def test_a_hundred_megabytes_prepare_within_a_gigabyte(tmp_path, monkeypatch, documents):
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "large.txt"
    paragraph = "".join(f"It was the {i}th day of rain, and the river rose over the road.\n" for i in range(20_000))
    path.write_text((paragraph * (1 + 100_000_000 // len(paragraph)))[:100_000_000], encoding="ascii")
    command = [sys.executable, "-c", MEASURE, str(path), documents]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    lines = path.read_text().count("\n") if documents == "lines" else 0
    assert measured["characters"] == 100_000_000 - lines
    assert measured["megabytes"] < 1_000
    assert measured["seconds"] < 120
