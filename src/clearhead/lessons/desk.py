"""What a lesson works with: the student's text, a folder of runs that lessons share, and the public commands.

Each call that is a command too yields the command, for a student to type it again: `run = yield from desk.train(...)`.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.lessons.parts import Part, Picture, Ran
from clearhead.lessons.typed import escaped, flags_of, line

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.config import RunConfig
    from clearhead.data.corpus import Corpus
    from clearhead.data.prepare import Prepared
    from clearhead.data.tokens import TokenDataset
    from clearhead.evaluation.ladder import Ladder
    from clearhead.experiments.conduct import Watcher
    from clearhead.experiments.design import Texts
    from clearhead.experiments.experiment import Experiment
    from clearhead.tokenizers.base import Tokenizer
    from clearhead.training.budget import Budget
    from clearhead.training.sinks import Sink
    from clearhead.training.weighing import Tensors
    from clearhead.views import Shown

FOLDER = Path("runs") / "learn"
METHODS = {"step": "one_step"}
"""Views whose method of a run has another name."""
NO_TEXT = ("bigram", "embeddings", "init")
"""Views that are of the model, not of a text."""


@dataclass(frozen=True)
class Looked:
    """What a view of `clearhead inspect` found."""

    command: str
    shown: "Shown"

    @property
    def view(self) -> Any:
        """The record of numbers."""
        return self.shown.view

    def picture(self, name: str, title: str) -> Picture:
        """One of its figures, by name."""
        draw: Callable[[], Any] = lambda: self.shown.figures()[name]  # noqa: E731
        return Picture(name, title, f"{self.command} --html picture.html", draw)


class Desk:
    """A text and a folder of runs. Nothing is read before it is needed."""

    def __init__(
        self,
        words: Sequence[str] = (),
        out: Path = FOLDER,
        sinks: Callable[[str], "Sequence[Sink]"] = lambda run: (),
        effort: float = 1.0,
        watcher: "Callable[[], Watcher | None]" = lambda: None,
    ) -> None:
        """`words` name the text as for `clearhead train`; `sinks` are made for each run, by its name.

        `effort` is the share of the steps that runs are trained for; a `watcher` is made for each experiment.
        """
        self.out, self.sinks, self.effort, self.watcher = out, sinks, effort, watcher
        self._words = tuple(words)

    def on(self, *words: str) -> "Desk":
        """Another text on the same desk."""
        return Desk(words, self.out, self.sinks, self.effort, self.watcher)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """What names the text on the command line."""
        from clearhead.data.named import default_corpus

        return self._words or (default_corpus(),)

    @cached_property
    def prepared(self) -> "Prepared":
        """The text in characters, split, and its ids."""
        from clearhead.config import RunConfig
        from clearhead.data.prepare import prepare

        return prepare(RunConfig(), self.words)

    @property
    def corpus(self) -> "Corpus":
        """The text."""
        return self.prepared.corpus

    @property
    def tokenizer(self) -> "Tokenizer":
        """Its characters."""
        return self.prepared.tokenizer

    @property
    def data(self) -> "TokenDataset":
        """Its ids."""
        return self.prepared.data

    @property
    def characters(self) -> int:
        """Of the whole text."""
        return sum(map(len, (*self.corpus.train, *self.corpus.val)))

    @property
    def is_shakespeare(self) -> bool:
        """Whether the text is the lecture's own, tiny Shakespeare."""
        from clearhead.data.named import DOWNLOADABLE

        return self.corpus.sha256 == DOWNLOADABLE["shakespeare"].sha256

    def passage(self, characters: int) -> str:
        """Where the validation text begins, or the training text where there is none."""
        return "".join(self.corpus.val or self.corpus.train)[:characters]

    @cached_property
    def folder(self) -> Path:
        """Where the runs on this text are kept."""
        from clearhead.files import file_name

        return self.out / f"{file_name(self.corpus.name)}-{self.corpus.sha256[:8]}"

    @cached_property
    def _texts(self) -> "Texts":
        """The text as experiments read it."""
        from clearhead.experiments.design import Texts

        return Texts(self.words)

    def bigram(self) -> Generator[Part, None, "Run"]:
        """The bigram that lessons share: the table trained by gradient."""
        return (yield from self.train("bigram", model="bigram", max_iters=3_000))

    def gpt(self) -> Generator[Part, None, "Run"]:
        """The GPT that lessons share: two blocks of four heads, 64 numbers wide, trained for a short while."""
        size: dict[str, Any] = {"n_layer": 2, "n_head": 4, "n_embd": 64, "block_size": 64}
        return (yield from self.train("gpt", **size, max_iters=1_000, save_interval=200, keep=6))

    def kings(self) -> Generator[Part, None, "Run"]:
        """The GPT of words that lessons share, for the named corpus `grammar`."""
        size: dict[str, Any] = {"n_layer": 2, "n_embd": 32, "block_size": 64, "batch_size": 32}
        return (yield from self.train("kings", tokenizer="word", **size, max_iters=800, seed=1))

    def train(
        self, name: str, *, model: str = "gpt", preset: str = "modern", **settings: Any
    ) -> Generator[Part, None, "Run"]:
        """A run of these settings: the one that is there, the rest of one that was interrupted, or a new one.

        `settings` are the flags of `clearhead train`, max_iters among them. Ctrl-C saves the run and is raised again.
        """
        from clearhead.config import RunConfig

        config = RunConfig.from_preset(preset, model).with_settings(settings)
        if self.effort != 1:
            paced = ("max_iters", "eval_interval", "save_interval")
            settings |= {name: max(1, round(self.effort * getattr(config.train, name))) for name in paced}
            config = config.with_settings(settings)
        given = {"model": model} if model != "gpt" else {}
        given |= {"preset": preset} if preset != "modern" else {}
        there = self._find(name, config)
        flags = flags_of({**given, **settings, "name": there.path.name if there else name, "out": self.folder})
        yield Ran(line("train", *self.words, *flags), reused=there is not None)
        return there or self._train(name, config, set(settings))

    def planned(self, seconds: float) -> Generator[Part, None, "Run"]:
        """A GPT that is planned for a time; the one that was planned for it before, where there is one."""
        from time import perf_counter

        from clearhead.config import RunConfig
        from clearhead.training.budget import SHORTEST, Budget

        time = f"{max(SHORTEST, self.effort * seconds):g}s"
        name = f"planned-{time}"
        there = self._find(name, None)
        flags = flags_of({"time": time, "name": there.path.name if there else name, "out": self.folder})
        yield Ran(line("train", *self.words, *flags), reused=there is not None)
        budget = Budget(float(time[:-1]), perf_counter())
        return there or self._train(name, RunConfig.from_preset("modern"), set(), budget)

    def doctor(self, config: "RunConfig", settings: dict[str, Any]) -> Generator[Part, None, "Tensors"]:
        """What the tensors of a run would take; `settings` are the flags that make its configuration."""
        from clearhead.runtime import choose_runtime
        from clearhead.training.weighing import weigh

        yield Ran(line("doctor", *self.words, *flags_of({"run": True, **settings})))
        return weigh(config, self.tokenizer.vocab_size, choose_runtime(config.train))

    def inspect(self, run: "Run", view: str, *words: str, **settings: Any) -> Generator[Part, None, Looked]:
        """What a view finds in a run; words and settings as of the run's method.

        A view of a text is given one: on the command line it stands before the run.
        """
        assert words or view in NO_TEXT, f"inspect {view} would take the run's name for a text"
        flags = flags_of({**settings, "out": run.path.parent})
        command = line("inspect", view, *map(escaped, words), run.directory.name, *flags)
        yield Ran(command)
        return Looked(command, getattr(run, METHODS.get(view, view))(*words, **settings))

    def experiment(
        self, knobs: "Mapping[str, Sequence[Any]]", *, seeds: int = 2, **settings: Any
    ) -> Generator[Part, None, "Experiment"]:
        """What one knob does, or two, over paired seeds: `{"scale": ["on", "off"]}`.

        `settings` are the flags of `clearhead try`, max_iters among them. Runs that are there are used again; Ctrl-C
        saves the one that is being trained and is raised.
        """
        from clearhead.experiments.conduct import all_made, conduct
        from clearhead.experiments.design import draw_up
        from clearhead.experiments.judge import judge
        from clearhead.experiments.knobs import build_knob
        from clearhead.experiments.recipe import configure

        if self.effort != 1:
            train = configure(settings).train
            paced = {"max_iters", *({"eval_interval", "save_interval"} & settings.keys())}
            settings |= {name: max(1, round(self.effort * getattr(train, name))) for name in paced}
        turned = [build_knob(name, values) for name, values in knobs.items()]
        design = draw_up(turned, self._texts, settings, seeds=seeds)
        words = [f"{knob.name}={','.join(value.word for value in knob.values)}" for knob in turned]
        flags = flags_of({**settings, "seeds": seeds, "out": self.folder})
        yield Ran(line("try", *words, *self.words, *flags), reused=all_made(design, self.folder))
        return judge(design, conduct(design, self.folder, self.watcher(), most_seconds=None))

    def ladder(self, *runs: "Run") -> Generator[Part, None, "Ladder"]:
        """The ladder of runs, or of the text alone."""
        from clearhead import api

        named = [str(run.path) for run in runs] or self.words
        yield Ran(line("ladder", *named))
        return api.ladder(*named)

    def generate(self, run: "Run", prompt: str, **settings: Any) -> Generator[Part, None, str]:
        """What a run writes after a prompt."""
        flags = flags_of({"prompt": escaped(prompt), **settings, "out": run.path.parent})
        yield Ran(line("generate", run.directory.name, *flags))
        return run.generate(prompt, **settings)

    def _find(self, name: str, config: "RunConfig | None") -> "Run | None":
        """The run of this configuration (None: any) that earlier lessons have left, trained to its end."""
        from clearhead.api import Run, finish
        from clearhead.runs.directory import all_runs
        from clearhead.training.job import resume_job

        wanted = config and self._fitted(config)
        for run in all_runs(self.folder):
            named = run.name == name or run.name.startswith(f"{name}-")
            if named and wanted in (None, run.read_config()):
                ended = [event for event in run.read_events() if event["event"] == "finished"]
                if ended and ended[-1]["reason"] != "interrupted":
                    return Run(run)
                return _whole(finish(resume_job(run, None), self.sinks(run.name)))
        return None

    def _fitted(self, config: "RunConfig") -> "RunConfig":
        """A configuration as a run writes it down."""
        from clearhead.data.prepare import prepare
        from clearhead.initialise import default_name
        from clearhead.training.draft import fit_block

        config = replace(config, init=config.init or default_name(config.trained, config.preset))
        return fit_block(config, prepare(config, self.words).data)[0]

    def _train(self, name: str, config: "RunConfig", fixed: set[str], budget: "Budget | None" = None) -> "Run":
        from clearhead.api import finish, new_job

        job = new_job(config, list(self.words), out=self.folder, name=name, fixed=fixed, budget=budget)
        return _whole(finish(job, self.sinks(name)))


def _whole(run: "Run") -> "Run":
    """The run; KeyboardInterrupt when the student has stopped it: what it says would be of half a training."""
    if run.directory.read_events()[-1].get("reason") == "interrupted":
        raise KeyboardInterrupt
    return run
