"""The benchmarks run, and the page of figures is the one they wrote."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _benchmarks_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def measured(**figures: Any) -> dict[str, Any]:
    machine = {"processor": "P", "cores": 2, "system": "S", "python": "3", "torch": "2", "numpy": "2", "clearhead": "0"}
    return {"date": "D", "machine": machine, "corpus": {"name": "poem", "characters": 9_000}, "figures": figures}


def test_the_page_is_what_the_harness_wrote() -> None:
    page = import_module("page")
    figures = json.loads(page.FIGURES.read_text(encoding="utf-8"))
    assert page.PAGE.read_text(encoding="utf-8") == page.render(figures)


def test_page_has_scalars_records_and_groups() -> None:
    rows = [{"name": "uniform", "parameters": 0}, {"name": "ngram", "parameters": 1_234}]
    text = import_module("page").render({"ladder": measured(seconds=1.5, rungs=rows, end_to_end={"max_iters": 3})})
    assert "clearhead ladder poem" in text
    assert "| seconds | 1.5 |" in text
    assert "| ngram | 1,234 |" in text
    assert "end to end:\n\n| figure | value |\n| --- | --- |\n| max iters | 3 |" in text
    assert "D, P, 2 cores, S; python 3, torch 2, numpy 2, clearhead 0; corpus poem, 9,000 characters." in text


def test_record_keeps_what_was_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = import_module("page")
    monkeypatch.setattr(page, "FIGURES", tmp_path / "figures.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.record({"startup": measured(help_seconds=0.1)})
    page.record({"ladder": measured(seconds=9)})
    page.record({"startup": measured(help_seconds=0.2)})
    text = page.PAGE.read_text(encoding="utf-8")
    assert "| help seconds | 0.2 |" in text
    assert "| seconds | 9 |" in text
    assert "0.1" not in text


def test_machine_facts_name_no_machine() -> None:
    import platform

    facts = import_module("machine").facts()
    assert facts["python"] == platform.python_version()
    assert platform.node() not in json.dumps(facts).split('"')
    assert "/" not in json.dumps(facts)


@pytest.mark.slow
def test_a_killed_run_ends_as_an_uninterrupted_one() -> None:
    counts = import_module("soak").soak(minutes=0.2, seed=2)
    assert counts["cycles"] >= 1
    assert counts["kills"] >= 1
    assert counts["differing"] == 0


def test_fails_with_the_words_of_what_failed() -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        import_module("machine").command([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_time_to_loss_compares_runs_of_the_same_repeat() -> None:
    module = import_module("time_to_loss")
    outcomes = {
        "nanoGPT": [module.Outcome(60.0, 1.9, 8), module.Outcome(80.0, 1.8, 8)],
        "clearhead train": [module.Outcome(10.0, 1.9, 7), module.Outcome(10.0, 1.88, 7)],
    }
    theirs, ours = module.rows(outcomes)
    assert (theirs["ratio"], theirs["seconds"]) == (1.0, 70.0)
    assert (ours["ratio"], ours["ratios"]) == (0.1458, "0.1250 .. 0.1667")
    assert (ours["val_nats_per_token"], ours["highest"]) == (1.89, 1.9)


def test_every_section_that_is_written_can_be_measured() -> None:
    page, run = import_module("page"), import_module("run")
    assert all(callable(getattr(run.Bench, name, None)) for name in page.SECTIONS)
    assert set(page.NEEDS) <= set(page.SECTIONS)


def test_a_faster_step_is_a_larger_figure() -> None:
    module = import_module("step_throughput")
    figures = module.compare([[1.0, 1.0]] * 4, [[1.5, 1.5]] * 4, {"ours": 2.0, "nanogpt": 2.0})
    assert figures["tokens_per_second_over_theirs"] == 1.5
    assert figures["steps_each"] == 8


def test_the_page_of_many_gpus_says_what_the_model_computes() -> None:
    scale = import_module("scale")
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").splitlines()
    for table in (scale.tables(), scale.bytes_table()):
        for line in "\n".join(table).splitlines():
            assert line in page
