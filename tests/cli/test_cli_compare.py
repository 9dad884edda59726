"""`clearhead ladder --compare`: a table, one JSON document, and refusals in one line."""

import json

import pytest

import clearhead
from clearhead.cli.main import main


@pytest.fixture
def _runs(poem, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for order in (1, 2, 3):
        clearhead.train(poem, model="ngram", order=order, name=f"order-{order}", progress=False)


@pytest.mark.usefixtures("_runs")
def test_a_table_and_its_document(capsys):
    assert main(["ladder", "--compare", "order-1", "order-3"]) == 0
    title, head, a, b, difference, interval, verdict, *_ = capsys.readouterr().out.splitlines()
    assert title == "A against B on poem.txt (940 validation characters)"
    assert main(["ladder", "--compare", "order-1", "order-3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["corpus"], document["val_characters"], document["better"]) == ("poem.txt", 940, "B")
    assert verdict == document["verdict"]
    assert "nats per token" in head
    for line, side in ((a, document["a"]), (b, document["b"])):
        assert f"{side['nats_per_token']:.4f}" in line
        assert f"{side['bits_per_char']:.4f}" in line
        assert side["runs"][0]["run"] in line
    found = document["difference"]["nats_per_token"]
    assert found["low"] < found["value"] < found["high"]
    assert f"{found['value']:+.4f}" in difference
    assert f"{found['low']:+.4f} .. {found['high']:+.4f}" in interval


@pytest.mark.usefixtures("_runs")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--compare", "order-1"], "two sides, not 1"),
        (["--compare", "order-1", "order-2", "order-3"], "quote patterns"),
        (["order-1", "order-2", "--compare", "order-3"], "two sides, not 3"),
        (["--compare", "order-1,order-2", "order-3"], "differ in order: 1 and 2"),
        (["--compare", "order-1", "oder-2"], "did you mean 'order-2'"),
    ],
)
def test_refusals(capsys, words, says):
    assert main(["ladder", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert says in told.err
