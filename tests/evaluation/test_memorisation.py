"""A model that copies is told from one that does not, beside text that nobody copied."""

import random
from dataclasses import replace

import pytest

from clearhead import api
from clearhead.config import SamplingConfig
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.memorisation import Memorisation, measure_memorisation
from clearhead.evaluation.overlap import Overlap, codes_of, overlaps
from clearhead.tokenizers.byte import ByteTokenizer


def babble(characters: int, seed: int = 1) -> str:
    """Words of random letters: a text that does not repeat itself."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("aeinorst", k=draw.randint(2, 7))) for _ in range(characters // 4)]
    return " ".join(words)[:characters]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "babble.txt"
    path.write_text(babble(20_000), encoding="utf-8")
    return path


@pytest.fixture
def counted(text, tmp_path):
    """An n-gram of order 10: it knows where every passage of nine characters goes on."""
    return api.train(text, model="ngram", order=10, out=tmp_path / "runs", progress=False)


def test_a_model_that_has_learned_by_heart_is_caught(counted, text):
    report = counted.memorisation(samples=1, max_new_tokens=250, temperature=0)
    training = text.read_text()[:18_000]
    assert report.samples.longest > 200
    assert report.samples.passage in counted.samples(max_new_tokens=250, temperature=0)[0]
    assert training.index(report.samples.passage) == report.samples.offset
    assert report.copies
    assert report.reading.startswith("warning, the samples copy more than fresh text would")


def test_a_model_that_writes_afresh_is_not(text, tmp_path):
    run = api.train(text, model="ngram", order=2, out=tmp_path / "runs", progress=False)
    report = run.memorisation(samples=4, max_new_tokens=200)
    assert report.copies is False
    assert "copying than fresh text shows" in report.reading
    assert report.train_characters == 18_000, "dev is training text too"
    assert len(report.val) == 2, "2,000 validation characters are two parts of 800"
    assert all(part.longest < 12 for part in report.val)


def test_the_figures_are_those_of_the_texts(counted, text):
    """Held against the samples that `generate` draws, and parts of the validation text cut by hand."""
    report = counted.memorisation(samples=2, max_new_tokens=200, seed=5)
    drawn = counted.samples(num_samples=2, max_new_tokens=200, seed=5)
    training, validation = text.read_text()[:18_000], text.read_text()[18_000:]
    starts = [int(1_800 * number / 9) for number in range(10)]  # five parts of two stretches
    parts = [[validation[start : start + 200] for start in starts[part::5]] for part in range(5)]
    texts = [codes_of("\ufffd".join(part)) for part in (drawn, *parts)]
    assert [report.samples, *report.val] == overlaps(texts, [codes_of(training)])


def test_the_same_seed_gives_the_same_report(counted):
    assert counted.memorisation(max_new_tokens=50, seed=2) == counted.memorisation(max_new_tokens=50, seed=2)
    assert counted.memorisation(max_new_tokens=50, seed=2) != counted.memorisation(max_new_tokens=50, seed=3)


def test_samples_are_drawn_in_groups_without_a_change(counted, monkeypatch):
    whole = counted.memorisation(samples=5, max_new_tokens=40)
    monkeypatch.setattr("clearhead.evaluation.memorisation.ROWS_AT_ONCE", 2)
    assert counted.memorisation(samples=5, max_new_tokens=40) == whole


def test_without_validation_text_the_report_says_so(tmp_path):
    path = tmp_path / "pets.txt"
    path.write_text("I love dogs\nI love cats\nDogs and cats are pets", encoding="utf-8")
    run = api.train(path, model="ngram", out=tmp_path / "runs", progress=False)
    report = run.memorisation(samples=1, max_new_tokens=30)
    assert report.val == ()
    assert report.copies is None
    assert "no validation text to hold this against" in str(report)
    assert "validation  " not in str(report)


def test_validation_text_that_is_itself_a_copy_decides_nothing(poem, tmp_path):
    run = api.train(poem, model="ngram", out=tmp_path / "runs", progress=False)
    report = run.memorisation(samples=2, max_new_tokens=200)
    assert report.copies is None
    assert "itself repeats the training text" in report.reading


def test_no_overlap_crosses_from_one_document_to_the_next(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(babble(9_000).split()), encoding="utf-8")
    run = api.train(path, lines=True, model="ngram", out=tmp_path / "runs", progress=False)
    report = run.memorisation(samples=2, max_new_tokens=300)
    assert 2 < report.samples.longest <= 7, "no word has more than seven letters"
    assert report.samples.characters < 600, "separators are no characters"
    assert max(size for part in report.val for size in part.novel) <= 7


@pytest.mark.parametrize("tokenizer", ["byte", "word"])
def test_overlaps_are_counted_in_characters(tokenizer, tmp_path):
    words = babble(6_000).replace("a", "ä").replace("s", "ß")
    path = tmp_path / "umlauts.txt"
    path.write_text(words, encoding="utf-8")
    run = api.train(path, tokenizer=tokenizer, model="ngram", order=8, out=tmp_path / "runs", progress=False)
    report = run.memorisation(samples=1, max_new_tokens=200, temperature=0)
    assert report.samples.passage in words
    assert len(report.samples.passage) == report.samples.longest
    assert report.samples.offset is not None
    if tokenizer == "byte":
        assert words.index(report.samples.passage) == report.samples.offset
        assert report.samples.characters < 200, "200 bytes are fewer characters"


def test_a_part_that_begins_inside_a_character_is_not_novel_for_that(tmp_path):
    """Of two-byte characters alone, every other stretch of bytes begins in the middle of one."""
    path = tmp_path / "greek.txt"
    path.write_text(babble(4_000).translate(str.maketrans("aeinorst ", "αεινορστυ")), encoding="utf-8")
    run = api.train(path, tokenizer="byte", model="ngram", out=tmp_path / "runs", progress=False)
    assert isinstance(run.tokenizer, ByteTokenizer)
    report = run.memorisation(samples=3, max_new_tokens=31)
    assert all(part.novel[1] == 0.0 for part in report.val)


def test_what_cannot_be_measured_is_refused(counted):
    with pytest.raises(ConfigError, match="stop="):
        counted.memorisation(stop=("x",))
    with pytest.raises(ConfigError, match="max_new_tokens=0"):
        counted.memorisation(max_new_tokens=0)


def overlap(longest: int, shared: float = 0.0, passages: int = 1_000) -> Overlap:
    """An overlap whose passages of 16 characters are known to a share."""
    return Overlap(1_000, longest, "x" * longest, 0, {16: passages}, {16: 1 - shared})


@pytest.mark.parametrize(
    ("samples", "val", "copies"),
    [
        (overlap(41), (overlap(30), overlap(20)), False),
        (overlap(61), (overlap(30), overlap(20)), True),
        (overlap(60), (overlap(30), overlap(20)), False),
        (overlap(30, 0.06), (overlap(30, 0.01), overlap(20, 0.02)), True),
        (overlap(30, 0.06), (overlap(30, 0.01), overlap(20, 0.04)), False),
        (overlap(30, 0.04), (overlap(30, 0.0),), False),
        (overlap(90, 1.0), (overlap(90, 0.5),), None),
        (overlap(61, 1.0, passages=99), (overlap(30),), None),
        (overlap(61), (), None),
    ],
)
def test_what_counts_as_copying(samples, val, copies):
    report = Memorisation("a text", 10_000, samples, val)
    assert report.copies is copies
    assert report.reading.startswith("warning") is bool(copies)


def test_the_table_shows_the_middle_and_the_extreme():
    report = Memorisation("a text", 10_000, overlap(12, 0.1), (overlap(7, 0.01), overlap(9, 0.02), overlap(8, 0.04)))
    lines = [line.split() for line in str(report).splitlines()]
    assert ["longest", "overlap", "12", "8", "9"] in lines
    assert ["novel", "of", "length", "16", "90.0%", "98.0%", "96.0%"] in lines
    assert "10,000 characters, dev included" in str(report)
    alone = str(replace(report, val=report.val[:1]))
    assert "most alike" not in alone


def test_a_dataset_and_a_model_are_enough(counted):
    """The function beneath asks for no run."""
    data: TokenDataset = counted.data
    sampling = SamplingConfig(num_samples=1, max_new_tokens=20)
    assert measure_memorisation(counted.model, counted.tokenizer, data, sampling) == counted.memorisation(
        samples=1, max_new_tokens=20
    )
