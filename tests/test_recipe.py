"""The recipe's ablations: which runs are made, that none is made twice, and that the page says what they found."""

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

from clearhead.config import PRESET_INIT, RunConfig
from clearhead.errors import ConfigError, DivergenceError
from clearhead.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
TINY = {"n_embd": 16, "n_head": 2, "n_layer": 1, "block_size": 8, "batch_size": 4, "eval_iters": 1}
COSINE = {"base": {}, "cosine": {"decay": "cosine"}}


@pytest.fixture(autouse=True)
def _benchmarks_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def runs() -> ModuleType:
    return import_module("recipe_runs")


@pytest.fixture
def results() -> ModuleType:
    return import_module("recipe_results")


def told(change: dict[str, Any] | None = None, *, seed: int = 1, dev: float | None = 2.0, **more: Any) -> Any:
    """A result as if it had been measured."""
    results = import_module("recipe_results")
    base = results.flat(RunConfig.from_preset("modern").with_settings({"seed": seed, "max_iters": 100}))
    line = {
        "variant": "base" if change is None else "changed",
        "base": base,
        "settings": change or {},
        "date": "2026-01-02",
        "machine": dict.fromkeys(("processor", "system", "python", "torch", "numpy", "clearhead"), "X")
        | {"cores": 2, "threads": 1},
        "key": "",
        "corpus": "poem",
        "sha256": "abc",
        "train_tokens": 1_000,
        "seed": seed,
        "steps": 100,
        "dev": dev,
        "val": dev,
        "train": dev,
        "seconds": 3.0,
    }
    return results.Result(**(line | more))


def rows(lines: Sequence[Any]) -> list[list[str]]:
    """The cells of the tables of a page."""
    page = import_module("recipe_page").render(lines)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")][2:]


def test_the_page_is_what_was_measured() -> None:
    page, results = import_module("recipe_page"), import_module("recipe_results")
    lines = results.read(results.RESULTS)
    assert page.PAGE.exists() == bool(lines)
    assert not lines or page.PAGE.read_text(encoding="utf-8") == page.render(lines)


def test_every_variant_is_a_run_of_its_own(runs: ModuleType, poem: Path) -> None:
    recipe = import_module("recipe")
    planned = runs.plan(recipe.VARIANTS, {str(poem): {}}, [1, 2], 600)
    assert [run.variant for run in planned] == [*recipe.VARIANTS, *recipe.VARIANTS]
    assert planned[0].config == planned[0].base
    assert planned[0].variant == "base"
    assert len({run.key for run in planned}) == len(planned)
    assert all(run.corpus == "poem.txt" for run in planned)


def test_all_see_the_same_tokens(runs: ModuleType, poem: Path) -> None:
    changes = {"base": {}, "large": {"batch_size": 24}, "long": {"block_size": 128}, "gpt2": {"preset": "gpt2"}}
    planned = runs.plan(changes, {str(poem): {}}, [1], 100)
    assert [run.config.train.max_iters for run in planned] == [100, 50, 50, 100]
    gpt2 = planned[-1].config
    assert (gpt2.init, gpt2.train.seed) == (PRESET_INIT["gpt2"], 1)
    assert gpt2.train.eval_interval == planned[0].config.train.eval_interval


def test_refuses_what_does_not_compare(runs: ModuleType, poem: Path) -> None:
    for change in ({"tokenizer": "byte"}, {"lines": True}, {"model": "bigram"}):
        with pytest.raises(ConfigError, match="variant 'other' changes the text"):
            runs.plan({"base": {}, "other": change}, {str(poem): {}}, [1], 10)


def test_measures_what_is_missing_and_nothing_twice(
    runs: ModuleType, results: ModuleType, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, corpora = tmp_path / "recipe.jsonl", {str(poem): TINY}
    planned = runs.plan(COSINE, corpora, [1], 4)
    assert len(list(runs.measure_missing(planned, file))) == 2
    base, cosine = results.read(file)
    assert cosine.settings == {"decay": "cosine"}
    assert base.steps == cosine.steps == 4
    assert base.dev != cosine.dev
    assert str(tmp_path) not in file.read_text(encoding="utf-8")

    more = runs.plan(COSINE, corpora, [1, 2], 4)
    monkeypatch.setattr(runs, "measure", lambda run: replace(base, key=run.key, seed=run.config.train.seed))
    assert [line.split(",")[0] for line in runs.measure_missing(more, file)] == ["3/4 base", "4/4 cosine"]
    assert [line.split()[:2] for line in runs.overview(planned, file)] == [["base", "1/1"], ["cosine", "1/1"]]


def test_a_run_measured_again_gives_the_same_losses(runs: ModuleType, poem: Path) -> None:
    (planned,) = runs.plan({"base": {}}, {str(poem): TINY}, [1], 4)
    first, second = runs.measure(planned), runs.measure(planned)
    assert (first.dev, first.val, first.train) == (second.dev, second.val, second.train)
    assert 0 < first.dev < 10


def test_the_best_weights_are_judged(runs: ModuleType, poem: Path) -> None:
    harmful = {"optimizer": "adamw", "learning_rate": 3.0, "min_lr": 3.0, "warmup_iters": 0}
    changes = {"base": {}, "last": harmful, "best": {**harmful, "eval_interval": 1, "patience": 2}}
    _, last, best = (runs.measure(run) for run in runs.plan(changes, {str(poem): TINY}, [1], 12))
    assert best.dev < last.dev
    assert best.steps < last.steps == 12


def test_divergence_is_a_result(
    runs: ModuleType, results: ModuleType, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(_: Trainer) -> Tensor:
        raise DivergenceError("loss nan")

    monkeypatch.setattr(Trainer, "gradients", diverge)
    file = tmp_path / "recipe.jsonl"
    (line,) = runs.measure_missing(runs.plan({"base": {}}, {str(poem): TINY}, [1], 4), file)
    assert "diverged" in line
    (found,) = results.read(file)
    assert (found.dev, found.val, found.train, found.steps) == (None, None, None, 0)


def test_a_setting_younger_than_a_line_does_not_undo_it(
    runs: ModuleType, results: ModuleType, poem: Path, tmp_path: Path
) -> None:
    (planned,) = runs.plan({"base": {}}, {str(poem): {}}, [1], 4)
    told_base = dict(results.flat(planned.base))
    assert told_base.pop("beta2") == RunConfig().train.beta2
    line = replace(told(), base=told_base, sha256=planned.sha256)
    results.append(tmp_path / "recipe.jsonl", line)
    (found,) = results.read(tmp_path / "recipe.jsonl")
    assert found.current_key == planned.key
    assert replace(line, base={**told_base, "beta2": 0.5}).current_key != planned.key


def test_a_line_that_is_not_whole_is_named(results: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "recipe.jsonl"
    results.append(file, told())
    file.write_text(file.read_text(encoding="utf-8") + '{"kind": "run", "var', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 2 of .* is no result"):
        results.read(file)


def test_differences_are_taken_seed_by_seed() -> None:
    bases = [told(seed=seed, dev=dev) for seed, dev in ((1, 2.0), (2, 2.5), (3, 3.0))]
    worse = [told({"decay": "cosine"}, seed=s, dev=d, variant="worse") for s, d in ((1, 2.11), (2, 2.6), (3, 3.12))]
    better = [told({"qk_norm": False}, seed=s, dev=d, variant="better") for s, d in ((1, 1.8), (2, 2.31))]
    unclear = [told({"norm": "layernorm"}, seed=s, dev=d, variant="unclear") for s, d in ((1, 2.1), (2, 2.45))]
    lost = [told({"learning_rate": 9.0}, seed=s, dev=d, variant="lost") for s, d in ((1, None), (2, 2.5))]
    alone = [told({"grad_clip": 0.0}, seed=3, dev=3.0, variant="alone"), told({"bias": True}, seed=9, variant="nobase")]
    found = rows([*bases, *better, *worse, *unclear, *lost, *alone])
    assert [(row[0], row[2], row[-1]) for row in found] == [
        ("lost", "+0.0000", "diverges on 1 of 2"),
        ("worse", "+0.1100", "worse"),
        ("unclear", "+0.0250", "not told apart"),
        ("alone", "+0.0000", "too few seeds"),
        ("better", "-0.1950", "better"),
    ]
    assert found[1][1] == "`decay` linear → cosine"
    assert found[1][3] == "+0.1000 .. +0.1200"
    assert [row[6] for row in found] == ["2", "3", "2", "1", "2"]


def test_page_holds_variants_against_the_newest_recipe_only() -> None:
    old, variant = told(dev=2.0), told({"decay": "cosine"}, dev=2.5)
    assert len(rows([old, variant])) == 1
    renewed = replace(old, base={**old.base, "learning_rate": 4e-3}, dev=1.0, val=1.0)
    assert rows([old, variant, renewed]) == []
    page = import_module("recipe_page").render([old, variant, renewed])
    assert page.count("in nats per token: dev") == 1
    assert "dev 1.0000 (1.0000 .. 1.0000); val 1.0000" in page


def test_newest_form_of_a_variant_counts() -> None:
    lines = [told(), told({"dropout": 0.1}, dev=2.5), told({"dropout": 0.2}, dev=2.75)]
    assert [row[1:3] for row in rows(lines)] == [["`dropout` 0.0 → 0.2", "+0.7500"]]


def test_page_shows_time_where_it_was_measured(results: ModuleType) -> None:
    shared = {"date": "D", "machine": {}, "ratio": 1.25, "low": 1.2, "high": 1.3, "variant": "changed"}
    one, other = told({"decay": "cosine"}), told({"qk_norm": False}, variant="other")
    slow = results.Speed(base={**one.base, "max_iters": 7, "seed": 5}, settings=one.settings, **shared)
    assert [row[7] for row in rows([told(), one, other, slow])] == ["1.25", ""]


def test_speed_is_a_line_of_its_own(
    runs: ModuleType, results: ModuleType, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "median_step", lambda trainer, _: float(trainer.train.batch_size))
    changes = {"base": {}, "large": {"batch_size": 8}}
    planned = runs.plan(changes, {str(poem): TINY}, [1, 2], 4)
    (line,) = runs.measure_speeds(planned, tmp_path / "recipe.jsonl")
    (found,) = results.read(tmp_path / "recipe.jsonl")
    assert "large: 1.000" in line
    assert (found.variant, found.ratio, found.low, found.high) == ("large", 1.0, 1.0, 1.0)


def test_command_line(
    poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, page = import_module("recipe"), import_module("recipe_page")
    monkeypatch.setattr(recipe, "CORPORA", {str(poem): TINY})
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    flags = ["--results", str(tmp_path / "recipe.jsonl")]
    assert recipe.main([*flags, "--only", "cosin"]) == 2
    assert "did you mean 'cosine'?" in capsys.readouterr().err
    assert recipe.main([*flags, "--page"]) == 2
    assert "holds no results yet" in capsys.readouterr().err
    assert not page.PAGE.exists()
    assert recipe.main([*flags, "--only", "cosine", "--seeds", "1", "--steps", "2"]) == 0
    assert recipe.main([*flags, "--only", "cosine", "--list", "--seeds", "1", "--steps", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["cosine", "1/1", "decay=cosine"]
    assert recipe.main([*flags, "--page"]) == 0
    assert "| cosine | `decay` linear → cosine |" in page.PAGE.read_text(encoding="utf-8")
    assert [json.loads(line)["variant"] for line in Path(flags[1]).read_text().splitlines()] == ["base", "cosine"]
