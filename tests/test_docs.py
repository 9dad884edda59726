"""The pages say what is true: their Python runs, their commands parse, their links, tables and trees are right."""

import dataclasses
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import clearhead
from clearhead.cli.arguments import parse
from clearhead.cli.main import VERBS, module_of
from clearhead.config import PRESET_INIT, PRESETS, Architecture, RunConfig, TrainConfig
from clearhead.initialise import names_for
from clearhead.training import events

ROOT = Path(__file__).parents[1]
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if path.exists()]
DOCUMENTS = sorted({*PAGES, *ROOT.glob("*.md")})
TINY = {
    "max_iters": 2,
    "eval_interval": 2,
    "eval_iters": 1,
    "save_interval": 2,
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 1,
    "block_size": 8,
    "batch_size": 2,
    "device": "cpu",
    "progress": False,
}
"""Put into every `clearhead.train` of a page, so that pages can show real settings."""
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in some languages."""
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [body for _, language, body in found if language in languages]


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name_of)
def test_python_blocks_run(page: Path, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = clearhead.train
    monkeypatch.setattr(clearhead, "train", lambda *c, **s: real(*c, **{**s, **TINY}), raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input.txt").write_text(poem.read_text(encoding="utf-8"), encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), namespace)
    assert len(namespace) > 2, "the blocks of a page leave names behind"


def commands(page: Path) -> Iterator[list[str]]:
    """The words after `clearhead` in the shell blocks of a page, up to a pipe or a redirection."""
    for block in blocks(page, "sh", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s[|>]\s|&&|;", line.removeprefix("$ ")):
                words = shlex.split(part, comments=True)
                if words and Path(words[0]).name == "clearhead":
                    yield words[1:]


COMMANDS = [(page, words) for page in DOCUMENTS for words in commands(page)]


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda v: " ".join(v) if isinstance(v, list) else v.name)
def test_commands_parse(page: Path, words: list[str]) -> None:
    if words[0].startswith("-"):
        assert words[0] in ("--help", "--version")
        return
    verb, *argv = words
    assert verb in VERBS
    if "--help" in argv:
        argv.remove("--help")
    module = module_of(verb)
    if argv and argv[0] in getattr(module, "ACTIONS", ()):
        module, verb, argv = import_module(module.ACTIONS[argv[0]]), f"{verb} {argv[0]}", argv[1:]
    record = module.Arguments
    parsed = parse(record, verb, argv, record())
    settings = getattr(parsed, "settings", RunConfig())
    assert settings.model in ("gpt", "bigram", "ngram", "mixture")
    assert settings.init is None or settings.init in names_for(settings.trained)


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.exists(), f"{name_of(page)} links to {target}, which is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(found), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{name_of(page)} links to {target}: no such heading"


def test_index_lists_every_page() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(p.name for p in (ROOT / "docs").glob("*.md") if p.name != "index.md")


def test_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in DOCUMENTS:
        for target in re.findall(r"\bmake ([a-z-]+)(?=[`;\s]*(?:`|$|\n|[A-Z]+=))", page.read_text(encoding="utf-8")):
            assert target in targets, f"{name_of(page)} names make {target}"


def test_every_flag_of_the_tables_has_its_default() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    tables = [part.partition("\n\n")[0] for part in page.split("| flag | default |")[1:]]
    rows = dict(re.findall(r"^\| `--(\w+)` \| (\S+) \|", "\n".join(tables), re.MULTILINE))
    fields = {f.name: f.default for section in (TrainConfig, Architecture) for f in dataclasses.fields(section)}
    assert rows == {name: str(default) for name, default in fields.items()}


def test_presets_and_their_starts() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| `(\w+)`:", page, re.MULTILINE))
    assert rows == PRESET_INIT
    assert rows.keys() == PRESETS.keys()


def test_events_table_is_the_events() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = page.partition("| event | fields |")[2].partition("\n\n")[0]
    rows = {name: re.findall(r"`(\w+)`", fields) for name, fields in re.findall(r"^\| `(\w+)` \|(.*)\|$", table, re.M)}
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    said = {k.__name__.lower(): [f.name for f in dataclasses.fields(k)][1:] for k in kinds - {events.Event}}
    assert rows == said


def test_layers_are_those_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert "\n".join(layers) + "\n" in blocks(ROOT / "ARCHITECTURE.md", "")


def test_the_tree_is_the_tree() -> None:
    tree = blocks(ROOT / "ARCHITECTURE.md", "")[0]
    package = ROOT / "src" / "clearhead"
    rows = re.findall(r"^  ([\w.]+)(/?)\s+(.*)$", tree, re.MULTILINE)
    there = {p.name for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert {name for name, _, _ in rows} == there
    for name, folder, about in rows:
        for file in re.findall(r"\b\w+\.py\b", about) if folder else ():
            assert (package / name / file).exists(), f"{name}/{file}"


def test_citation_has_the_package_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [clearhead.__version__]


def test_documents_hold_no_machine_paths() -> None:
    for page in DOCUMENTS:
        assert not re.search(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", page.read_text(encoding="utf-8")), page.name
