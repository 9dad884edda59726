"""Every lesson: what it promises as a lesson, and that its claims hold on tiny Shakespeare."""

import contextlib
import io
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from clearhead.cli.arguments import parse
from clearhead.cli.main import VERBS, module_of
from clearhead.errors import ConfigError, CorpusError
from clearhead.experiments.experiment import Experiment
from clearhead.experiments.knobs import read_knob
from clearhead.lessons.catalogue import PREFIX, after, find, lessons
from clearhead.lessons.desk import Desk
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Claim, Code, Part, Ran
from clearhead.runs.directory import RunDirectory
from clearhead.training.events import Event, Stepped
from conftest import corpus_file

COURSE = list(lessons().values())
WHOLE = ("characters", "bigram-table", "stabilised", "sampling", "averaging")
"""Lessons that are quick enough to be told whole."""
SHORT = ("initialisation", "embeddings", "training", "counting", "full-size")
"""Lessons whose claims hold with a tenth of the steps, too."""
TRYING = ("one-head", "many-heads", "residuals", "position", "dimensions", "today")
"""The same, of lessons that try settings: each run is scored on the whole validation text, so they have an excerpt."""
EXCERPT = 60_000
"""Characters of it."""
PATIENT = (
    "counts",
    "mask",
    "scale",
    "habits",
    "subject",
    "without norm",
    "without residuals",
    "without feed-forward",
    "lost",
    "leak is little",
    "overfitting",
    "dropout",
    "space",
    "queen",
    "walked",
    "small",
    "positions",
    "optimizer",
    "rate",
)
"""Claims that need all their steps."""
each_lesson = pytest.mark.parametrize("lesson", COURSE, ids=lambda lesson: lesson.slug)


def told(lesson: Lesson, desk: Desk) -> list[Part]:
    return list(lesson.parts(desk))


def claims(parts: list[Part]) -> Iterator[Claim]:
    return (part for part in parts if isinstance(part, Claim))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Tiny Shakespeare and a folder of runs that lessons share."""
    return Desk((str(corpus_file("tinyshakespeare.txt")),), tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk((str(corpus_file("tinyshakespeare.txt")),), tmp_path_factory.mktemp("short"), effort=0.1)


@pytest.fixture(scope="module")
def excerpt(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    path = tmp_path_factory.mktemp("excerpt") / "excerpt.txt"
    path.write_text(corpus_file("tinyshakespeare.txt").read_text(encoding="utf-8")[:EXCERPT], encoding="utf-8")
    return Desk((str(path),), path.parent / "runs", effort=0.1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A text of our own, and hardly any steps."""
    from conftest import POEM

    path = tmp_path_factory.mktemp("small") / "poem.txt"
    path.write_text(POEM * 29, encoding="utf-8")
    return Desk((str(path),), path.parent / "runs", effort=0.02)


@each_lesson
def test_on_any_text_a_lesson_asks_measures_and_judges(lesson: Lesson, small: Desk) -> None:
    parts = told(lesson, small)
    kinds = [type(part) for part in parts]
    assert kinds.count(Ask) == kinds.count(Answer) >= 1
    assert kinds.index(Ask) < kinds.index(Answer), "a prediction comes before its answer"
    assert parts[-1] == Code(lesson.code)
    judged = list(claims(parts))
    assert len({claim.name for claim in judged}) == len(judged) >= 3
    assert any(claim.note for claim in judged), "a lesson corrects what study notes say"
    for claim in judged:
        assert claim.words != claim.otherwise
        assert re.search(r"\d", claim.text), f"no number supports: {claim.text}"
        assert not re.search(r"\bnan\b|\binf\b|None", claim.text), claim.text


@each_lesson
def test_its_commands_can_be_typed(lesson: Lesson, small: Desk) -> None:
    commands = [part.command for part in lesson.parts(small) if isinstance(part, Ran)]
    assert commands
    for command in commands:
        name, verb, *argv = shlex.split(command)
        assert name == "clearhead"
        assert verb in VERBS
        module = module_of(verb)
        if argv[0] in getattr(module, "ACTIONS", ()):
            module, verb, argv = import_module(module.ACTIONS[argv[0]]), f"{verb} {argv[0]}", argv[1:]
        if verb == "try":
            knobs, argv = module.apart(argv)
            assert [read_knob(knob) for knob in knobs]
        parse(module.Arguments, verb, argv, module.Arguments())


@pytest.mark.parametrize("slug", WHOLE)
def test_claims_hold_on_shakespeare(slug: str, whole: Desk) -> None:
    assert [claim.otherwise for claim in claims(told(find(slug), whole)) if not claim.holds] == []


@pytest.mark.slow
@pytest.mark.parametrize("slug", SHORT)
def test_claims_hold_on_shakespeare_when_shortened(slug: str, short: Desk) -> None:
    found = [claim for claim in claims(told(find(slug), short)) if not claim.holds]
    assert [claim.otherwise for claim in found if claim.name not in PATIENT] == []


@pytest.mark.parametrize("slug", TRYING)
def test_claims_hold_on_an_excerpt_when_shortened(slug: str, excerpt: Desk) -> None:
    found = [claim for claim in claims(told(find(slug), excerpt)) if not claim.holds]
    assert [claim.otherwise for claim in found if claim.name not in PATIENT] == []


@pytest.mark.slow
@each_lesson
def test_claims_hold_on_shakespeare_in_full(lesson: Lesson, whole: Desk) -> None:
    assert [claim.otherwise for claim in claims(told(lesson, whole)) if not claim.holds] == []


def test_numbers_are_the_lectures(whole: Desk) -> None:
    said = {slug: "\n".join(str(part.to_dict()) for part in told(find(slug), whole)) for slug in WHOLE[:3]}
    assert "In the lecture it is 65." in said["characters"]
    assert "46" in said["characters"]
    assert "65 x 65, and the model counts 4,225" in said["bigram-table"]
    assert "The floor is 2.45" in said["stabilised"]


def test_first_losses_are_the_lectures(whole: Desk) -> None:
    """ln 65 = 4.17, half a nat more for N(0, 1); the 4.8786 that the lecture shows is one draw of many."""
    from clearhead.lessons.starting import first_losses

    found = first_losses(whole)
    assert found.mean == pytest.approx(4.1744 + 0.5, abs=0.03)
    assert found.low < 4.8786 < found.high


@each_lesson
def test_its_code_runs(lesson: Lesson, poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(poem.parent)
    poem.rename("input.txt")
    assert run_code(lesson)


@pytest.mark.slow
@each_lesson
def test_its_code_runs_on_shakespeare(
    lesson: Lesson, shakespeare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("input.txt").write_bytes(shakespeare.read_bytes())
    assert run_code(lesson)


def run_code(lesson: Lesson) -> str:
    """What it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(lesson.code, f"lesson {lesson.number}", "exec"), {"__name__": "lesson"})
    return printed.getvalue()


@pytest.mark.parametrize("lesson", COURSE, ids=lambda lesson: lesson.slug)
def test_too_short_a_text_is_said_in_a_line(lesson: Lesson, tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("to be or not to be", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"short.txt has 18 characters, and lesson \d+ .* leave --corpus out"):
        told(lesson, Desk((str(path),), tmp_path))


def test_files_are_named_as_lessons() -> None:
    assert [lesson.number for lesson in COURSE] == sorted({lesson.number for lesson in COURSE})
    folder = Path(import_module("clearhead.lessons").__path__[0])
    for lesson in COURSE:
        assert (folder / f"{PREFIX}{lesson.number:02}_{lesson.slug.replace('-', '_')}.py").exists()
    assert len(COURSE) == len(list(folder.glob(f"{PREFIX}*.py")))


def test_listing_loads_no_torch() -> None:
    code = "import sys; from clearhead.lessons.catalogue import lessons; lessons(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_finding_a_lesson() -> None:
    assert find("1") is find("characters") is COURSE[0]
    assert after(COURSE[0]) is COURSE[1]
    assert after(COURSE[-1]) is None
    with pytest.raises(ConfigError, match="did you mean 'bigram-table'"):
        find("bigram-tabel")
    with pytest.raises(ConfigError, match="there is no lesson 99"):
        find("99")


def trained(desk: Desk) -> list[bool]:
    """Whether each command of a training found its run."""
    return [part.reused for part in desk.train("again", model="bigram", max_iters=1_000) if isinstance(part, Ran)]


def test_a_run_is_made_once_for_its_settings(small: Desk) -> None:
    assert trained(small) + trained(small) == [False, True]
    assert trained(Desk(small.words, small.out, effort=0.01)) == [False], "other settings are another run"
    assert (small.folder / "again-2").exists()


def tried(desk: Desk) -> tuple[list[Part], Experiment]:
    """The command of an experiment, and what it found."""
    said = []
    parts = desk.experiment({"scale": ["on", "off"]}, seeds=1, max_iters=1_000, batch_size=4, block_size=8)
    while True:
        try:
            said.append(next(parts))
        except StopIteration as end:
            return said, end.value


def test_an_experiment_is_made_once_and_its_runs_lie_on_the_desk(small: Desk) -> None:
    (first,), found = tried(small)
    (again,), same = tried(small)
    assert isinstance(first, Ran)
    assert isinstance(again, Ran)
    assert (first.reused, again.reused) == (False, True)
    assert found.outcomes == same.outcomes
    assert {outcome.steps for outcome in found.outcomes} == {20}, "a desk's effort shortens experiments"
    assert {Path(trial.run).parent for outcome in found.outcomes for trial in outcome.trials} == {small.folder}
    flags = ["--max_iters", "20", "--batch_size", "4", "--block_size", "8", "--seeds", "1", "--out", str(small.folder)]
    assert shlex.split(first.command) == ["clearhead", "try", "scale=on,off", *small.words, *flags]


def test_a_planned_run_is_made_once_for_its_time(small: Desk) -> None:
    list(small.planned(5.0))
    (ran,) = small.planned(5.0)
    assert isinstance(ran, Ran)
    assert ran.reused
    assert "--time 5s --name planned-5s" in ran.command


class Interrupting:
    """A reader of events who presses Ctrl-C at step 300."""

    def handle(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 300:
            signal.raise_signal(signal.SIGINT)

    def close(self) -> None:
        pass


def test_a_run_that_was_interrupted_goes_on(poem: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(Desk((str(poem),), tmp_path, sinks=lambda name: [Interrupting()]))
    desk = Desk((str(poem),), tmp_path)
    run = RunDirectory(desk.folder / "again")
    assert run.read_events()[-1]["reason"] == "interrupted"
    assert 300 <= run.steps()[-1] < 1_000
    assert trained(desk) == [True]
    assert (run.read_events()[-1]["reason"], run.steps()[-1]) == ("done", 1_000)
    assert list(desk.folder.iterdir()) == [run.path]
