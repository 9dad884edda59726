import json
import math

import numpy as np
import pytest
import torch

from clearhead.api import Run
from clearhead.config import TrainConfig
from clearhead.errors import ConfigError, TokenizerError
from clearhead.evaluation.certificate import sampled_pairs
from clearhead.inspection import average
from clearhead.inspection.average import next_table
from clearhead.inspection.bigram import bigram
from clearhead.inspection.signals import row_change
from inspection.tiny_models import untyped
from runs.trained import copy_of


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A finished run of a model, by its kind."""
    out = tmp_path_factory.mktemp("bigram")
    loaded = {}
    return lambda kind: loaded.get(kind) or loaded.setdefault(kind, Run(copy_of(kind, out)))


def test_the_view_is_the_certificate_the_run_told(run_of):
    run = run_of("bigram")
    view = untyped(run.bigram().view)
    told = [event for event in run.directory.read_events() if event["event"] == "certified"]
    assert [moment.step for moment in view.history] == [event["step"] for event in told]
    mine = next(event for event in told if event["step"] == run.step)
    assert view.nats.gap == pytest.approx(mine["gap"], rel=1e-12)
    assert view.bits.gap == pytest.approx(mine["gap"] / math.log(2), rel=1e-12)
    assert view.nats.loss == pytest.approx(view.nats.floor + view.nats.leak + view.nats.misfit, abs=1e-12)
    assert view.check < 1e-12
    assert view.stabilised is False
    assert "not stabilised: the gap of" in str(view)
    assert sum(row.part for row in view.rows) == pytest.approx(1, abs=0.01)
    assert [signal.name for signal in view.signals] == [
        "loss plateau",
        "rows move (L1)",
        "|softmax - counts|",
        "val - train",
    ]


def test_without_its_events_a_run_is_certified_from_what_is_kept(run_of):
    run = run_of("bigram")
    table = average.table_of(run.model)
    about = {"run": "r", "step": run.step, "kept": [(10, table + torch.randn_like(table)), (20, table)]}
    view = bigram(run.model, run.tokenizer, run.data, run.config.train, **about)
    assert [moment.step for moment in view.history] == [10, 20]
    assert view.history[1].gap == pytest.approx(view.bits.gap, rel=1e-9)
    assert {signal.name for signal in view.signals} == {"rows move (L1)", "|softmax - counts|"}


def test_a_table_from_counts_has_stabilised(run_of):
    """Where windows hold one pair each, plain counts are the optimum."""
    run = run_of("bigram")
    model = type(run.model).from_counts(run.data.ids("train"), run.model.vocab_size, laplace=0)
    view = bigram(model, run.tokenizer, run.data, TrainConfig(block_size=1))
    assert view.stabilised
    assert view.bits.gap < 1e-6
    assert not view.rows
    assert "stabilised: the gap of 0.0000 bits is below the threshold" in str(view)
    assert np.nanmax(np.abs(view.seen.share - view.seen.probability)) < 1e-6


def test_an_entry_is_a_logit_a_row_a_probability_and_a_count(run_of):
    run = run_of("bigram")
    view = untyped(run.bigram("t", "h").view)
    text = run.tokenizer.decode(run.data.ids("counts"))
    pair = view.pair
    assert (pair.count, pair.of) == (text.count("th"), text[:-1].count("t"))
    assert pair.probability == pytest.approx(math.exp(pair.logit - pair.logsumexp))
    with torch.no_grad():
        said = run.model(torch.from_numpy(run.tokenizer.encode("t").astype("int64"))[None]).logits[0, -1].softmax(-1)
    assert pair.probability == pytest.approx(float(said[run.tokenizer.encode("h")[0]]), abs=1e-6)
    assert pair.check < 1e-6
    assert pair.shifted < 1e-15
    assert len(pair.row) == run.model.vocab_size
    assert sum(successor.count for successor in pair.row) == pair.of
    assert f"comes h in {pair.count:,} of {pair.of:,} cases" in str(view)
    assert "a logit alone means nothing" in str(view)


@pytest.mark.parametrize("kind", ["gpt", "mixture"])
def test_an_average_is_that_of_all_contexts(run_of, kind, monkeypatch):
    run = run_of(kind)
    monkeypatch.setattr(average, "CONTEXTS", 1 << 30)
    table = next_table(run.model, run.data)
    ids = run.data.ids("val").astype("int64")
    x = torch.from_numpy(ids[: (len(ids) - 1) // 16 * 16]).view(-1, 16)
    with torch.no_grad():
        said = run.model(x).logits.double().softmax(-1)
    a = int(np.bincount(ids).argmax())
    tail = torch.from_numpy(ids[x.numel() : -1])[None]
    with torch.no_grad():
        rest = run.model(tail).logits.double().softmax(-1)[tail == a]
    expected = torch.cat([said[x == a], rest]).mean(0)
    torch.testing.assert_close(table.logits[a].exp(), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(table.logits.exp().sum(1), torch.ones(run.model.vocab_size).double())
    assert not table.own
    view = untyped(run.bigram().view)
    assert view.stabilised is None
    assert "no verdict" in str(view)
    assert not view.history


def test_an_ngram_shows_its_order_two(run_of):
    run = run_of("ngram")
    table = next_table(run.model, run.data)
    a = int(run.tokenizer.encode("t")[0])
    with torch.no_grad():
        said = run.model.to_order(2)(torch.tensor([[a]])).logits[0, 0].double()
    torch.testing.assert_close(table.logits[a], said, atol=1e-6, rtol=0)
    assert "order 2" in table.about
    view = untyped(run.bigram("t", "h").view)
    assert view.pair.row[0].logit is None
    assert view.pair.of == sampled_pairs(run.data.ids("counts"), 1, run.model.vocab_size).seen[a]


def test_signals_need_what_they_compare(run_of):
    run = run_of("bigram")
    view = untyped(bigram(run.model, run.tokenizer, run.data, run.config.train, step=run.step))
    assert [signal.name for signal in view.signals] == ["|softmax - counts|"]
    assert row_change(torch.zeros(3, 3), torch.zeros(3, 3) + 4.0) == pytest.approx(0, abs=1e-15)
    opposite = torch.tensor([[40.0, 0.0], [0.0, 40.0]])
    assert row_change(opposite, opposite.flip(1)) == pytest.approx(2)


def test_json_holds_every_pair(run_of):
    run = run_of("bigram")
    document = json.loads(json.dumps(run.bigram().to_dict(), allow_nan=False))
    assert document["view"] == "bigram"
    assert sum(document["seen"]["count"]) == len(run.data.ids("train")) - 1
    assert "drawn" not in document


def test_bad_tokens_and_large_tables(run_of, monkeypatch):
    run = run_of("gpt")
    with pytest.raises(TokenizerError, match="'é' is no token"):
        run.bigram("é", "h")
    with pytest.raises(ConfigError, match="named by two tokens"):
        run.bigram("t")
    monkeypatch.setattr(average, "LARGEST_TABLE", 10)
    with pytest.raises(ConfigError, match="is too large to draw up"):
        run.bigram()
