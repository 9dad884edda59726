"""A run knows its text: a changed one is refused, and what changed is said."""

import json
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import SMALL, copy_of

from clearhead import api
from clearhead.config import RunConfig
from clearhead.data.corpus import split
from clearhead.data.prepare import prepare
from clearhead.data.sources import Source
from clearhead.errors import CorpusError
from clearhead.files import sha256_file
from clearhead.runs.corpus import BLOCKS, block_digests, corpus_record, open_data
from clearhead.runs.directory import RunDirectory, create_run
from clearhead.runs.records import to_json


def make(tmp_path: Path, texts: dict[str, str], **settings: object) -> RunDirectory:
    """A run on texts, which become files."""
    paths = [tmp_path / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    config = RunConfig().with_settings(settings)
    prepared = prepare(config, [str(path) for path in paths])
    record = corpus_record(prepared.corpus)
    return create_run(
        tmp_path / "runs", "run", config=config, tokenizer=prepared.tokenizer, corpus=record, environment={}
    )


def refusal(run: RunDirectory) -> str:
    with pytest.raises(CorpusError) as refused:
        open_data(run)
    assert "\n" not in str(refused.value)
    return str(refused.value)


TEXT = "".join(f"Line {number} of a text. " for number in range(700))[:12_345]


@pytest.mark.parametrize("at", [0, 100, 6_000, 11_111, 12_344])
@pytest.mark.parametrize("put", ["#", "", "TWO"])
def test_the_place_of_the_first_difference_is_named(tmp_path, at, put):
    run = make(tmp_path, {"a.txt": TEXT})
    changed = TEXT[:at] + put + TEXT[at + 1 :]
    (tmp_path / "a.txt").write_text(changed)
    said = refusal(run)
    first = next((i for i, (a, b) in enumerate(zip(TEXT, changed, strict=False)) if a != b), len(changed))
    found = re.search(r"first difference between characters ([\d,]+) and ([\d,]+);", said)
    assert found, said
    low, high = (int(number.replace(",", "")) for number in found.groups())
    assert low <= first < high <= low + 193
    assert f"it had 12,345 characters (SHA-256 {run.read_corpus()['sha256'][:12]}), it has {len(changed):,} (" in said


def test_what_was_added_at_the_end_and_taken_from_it_is_named(tmp_path):
    run = make(tmp_path, {"a.txt": TEXT})
    (tmp_path / "a.txt").write_text(TEXT + "more")
    assert "first difference between characters 12,159 and 12,349;" in refusal(run)
    (tmp_path / "a.txt").write_text(TEXT[:6_000])
    assert "it has 6,000" in refusal(run)
    assert "between characters 5,983 and 6,176" in refusal(run)


def test_a_few_documents_are_counted_through(tmp_path):
    run = make(tmp_path, {"a.txt": TEXT, "b.txt": TEXT[::-1]})
    (tmp_path / "b.txt").write_text(TEXT[::-1].replace("txet", "tixt", 1))
    place = len(TEXT) + TEXT[::-1].index("txet") + 1
    found = re.search(r"between characters ([\d,]+) and ([\d,]+) of its documents, one after the other", refusal(run))
    assert found
    low, high = (int(number.replace(",", "")) for number in found.groups())
    assert low <= place < high


def test_a_text_divided_elsewhere_is_told_apart(tmp_path):
    run = make(tmp_path, {"a.txt": TEXT, "b.txt": TEXT})
    (tmp_path / "a.txt").write_text(TEXT[:-5])
    (tmp_path / "b.txt").write_text(TEXT[-5:] + TEXT)
    assert "the same ones divided into other documents" in refusal(run)


def test_many_documents_are_counted(tmp_path):
    lines = "".join(f"name number {number}\n" for number in range(300))
    run = make(tmp_path, {"a.txt": lines}, lines=True)
    assert run.read_corpus()["blocks"]["digests"] == []
    (tmp_path / "a.txt").write_text(lines + "another\n")
    assert "in 300 documents before and 301 now" in refusal(run)


def test_a_record_of_an_older_version_still_works(tmp_path):
    run = make(tmp_path, {"a.txt": TEXT})
    record = run.read_corpus()
    del record["blocks"]
    run.corpus_file.write_text(to_json(record))
    assert len(open_data(run).ids("val"))
    (tmp_path / "a.txt").write_text(TEXT + "more")
    assert re.search(r"it has 12,349 \(\w{12}\); restore it", refusal(run))


def test_the_record_is_small(tmp_path):
    run = make(tmp_path, {"a.txt": TEXT})
    assert len(run.read_corpus()["blocks"]["digests"]) == BLOCKS
    assert run.corpus_file.stat().st_size < 3_000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=6), st.integers(1, 12))
def test_blocks_do_not_depend_on_the_pieces(pieces, size):
    whole = "".join(pieces)
    assert block_digests(pieces, size) == block_digests([whole], size)
    assert len(block_digests(pieces, size)) == -(-len(whole) // size)


def test_a_large_text_is_not_copied():
    text = "0123456789abcdef" * 1_250_000  # 20 MB
    corpus = split(Source("text", (text,), ()))
    tracemalloc.start()
    corpus_record(corpus)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("verb", ["resume", "ladder"])
def test_resume_and_ladder_refuse_a_changed_text(tmp_path, verb):
    run = copy_of("gpt", tmp_path / "runs")
    text = tmp_path / "poem.txt"
    text.write_text(Path(run.read_corpus()["paths"][0]).read_text(encoding="utf-8").replace("moon", "noon", 1))
    run.unseal()
    run.corpus_file.write_text(to_json({**run.read_corpus(), "paths": [str(text)]}))
    run.manifest_file.write_text(to_json({**run.read_manifest(), "corpus.json": sha256_file(run.corpus_file)}))
    config = run.config_file.read_text().replace("max_iters = 30", "max_iters = 40")
    run.config_file.write_text(config)
    run.manifest_file.write_text(to_json({**run.read_manifest(), "config.toml": sha256_file(run.config_file)}))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(CorpusError, match=r"has changed: .* first difference between characters"):
        api.resume(run.path, progress=False) if verb == "resume" else api.ladder(run.path)
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert {path.name for path in before if after[path] != before[path]} <= {".lock"}


def test_training_writes_the_blocks(poem, tmp_path):
    run = api.train(poem, out=tmp_path / "runs", progress=False, max_iters=2, **SMALL)
    assert len(json.loads(run.directory.corpus_file.read_text())["blocks"]["digests"]) == BLOCKS
