"""Inspections for notebooks: what `run.attention(...)` and its sisters return."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.errors import ConfigError, CorpusError
from clearhead.files import write_atomic
from clearhead.inspection.view import View

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from clearhead.config import RunConfig
    from clearhead.data.tokens import TokenDataset
    from clearhead.inspection.gains import Gains
    from clearhead.inspection.trace import Trace
    from clearhead.models.base import LanguageModel
    from clearhead.models.mixture import MixtureLanguageModel
    from clearhead.runs.directory import RunDirectory
    from clearhead.runtime import Runtime
    from clearhead.tokenizers.base import Tokenizer

IMAGES = (".png", ".svg", ".pdf")
PROMPT = 24
"""Tokens of validation text that a report's next token follows."""
REPORT_READ, REPORT_STEPS = 3 << 14, 3
"""Tokens for `loss` and steps for `init` in a report, which is to take seconds; the views alone take more."""


@dataclass(frozen=True)
class Shown:
    """A view with its figures: printed as text, shown as pictures, saved as either."""

    view: View

    def figures(self) -> "dict[str, Figure]":
        """Plotly figures by name, the one that says most first."""
        from clearhead.figures import figures_of

        return figures_of(self.view)

    def show(self) -> None:
        """Open the figures: in a notebook below the cell, else in the browser."""
        for figure in self.figures().values():
            figure.show()

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        return self.view.to_dict()

    def save(self, path: str | Path) -> list[Path]:
        """Write .html (self-contained), or .png, .svg or .pdf (a browser is needed); the files that were written.

        Of several figures the first has the path's name, the others their own added. ConfigError for another suffix,
        for an image of a view without figures, and where no browser is found.
        """
        path = Path(path)
        if path.suffix == ".html":
            from clearhead.figures.page import page

            write_atomic(path, page([self.view], self.view.title))
            return [path]
        if path.suffix not in IMAGES:
            raise ConfigError(f"{path} ends in no known format; choose .html, {', '.join(IMAGES)}")
        figures = self.figures()
        if not figures:
            raise ConfigError(f"'{self.view.title}' is words only and has no picture; save it as .html")
        paths = [path if not i else path.with_stem(f"{path.stem}-{name}") for i, name in enumerate(figures)]
        from clearhead.figures.images import image

        for target, figure in zip(paths, figures.values(), strict=True):
            write_atomic(target, image(figure, target.suffix[1:]))
        return paths

    def __str__(self) -> str:
        return f"{self.view.title}\n{self.view}"

    def _repr_html_(self) -> str:
        """Below a notebook's cell: the figures, then the text."""
        from html import escape

        pictures = [figure._repr_html_() for figure in self.figures().values()]
        return f"{''.join(pictures)}<pre>{escape(str(self))}</pre>"


class Inspectable:
    """The inspections of a run, as methods; `clearhead.api.Run` is one."""

    config: "RunConfig"
    directory: "RunDirectory"
    model: "LanguageModel"
    tokenizer: "Tokenizer"
    runtime: "Runtime"
    step: int

    @cached_property
    def data(self) -> "TokenDataset":
        """The tokens of the run's text; CorpusError when the text has changed or is gone."""
        from clearhead.runs.corpus import open_data

        return open_data(self.directory, self.tokenizer)

    @property
    def _data_at_hand(self) -> "TokenDataset | None":
        """The tokens of the run's text; None where it is gone or has changed, for views that can do without."""
        try:
            return self.data
        except CorpusError:
            return None

    def attention(self, text: str | None = None, **settings: Any) -> Shown:
        """What every head looks at on a text (by default where the validation text begins), and what it is worth.

        Settings as in `inspection.attention.attention`: layer, head, position.
        """
        from clearhead.inspection.attention import attention

        about = {"data": self.data if text is None else self._data_at_hand, "run": self.directory.name}
        return Shown(attention(self.model, self.tokenizer, text, **about, **settings))

    def bigram(self, current: str | None = None, following: str | None = None) -> Shown:
        """A bigram's table (of another model what it says on average) beside the counts, or what one entry of it means.

        ConfigError for one token without the other.
        """
        from clearhead.inspection.average import table_of
        from clearhead.inspection.bigram import bigram
        from clearhead.models.bigram import BigramLanguageModel
        from clearhead.runs.checkpoint import load_checkpoint

        if (current is None) != (following is None):
            raise ConfigError("an entry of the table is named by two tokens: the current and the following one")
        run, kept, events = self.directory, [], []
        if isinstance(self.model, BigramLanguageModel):
            events = run.read_events()
            kept = [(step, table_of(load_checkpoint(run, step).model)) for step in run.steps()]
        return Shown(
            bigram(
                self.model,
                self.tokenizer,
                self.data,
                self.config.train,
                pair=(current, following) if current is not None and following is not None else None,
                run=run.name,
                step=self.step,
                events=events,
                kept=kept,
            )
        )

    def embeddings(self, *, also: "Sequence[Inspectable]" = (), **settings: Any) -> Shown:
        """Neighbours, analogies, pictures and dimensions of the token embedding and the output head.

        `also` are runs that answer the analogies too; settings as in `inspection.embeddings.embeddings`: tokens,
        analogies, dimensions, projection.
        """
        from clearhead.inspection.embeddings import embeddings
        from clearhead.runs.checkpoint import load_checkpoint

        run = self.directory
        return Shown(
            embeddings(
                self.model,
                self.tokenizer,
                self.data,
                run=run.name,
                checkpoints=[(step, load_checkpoint(run, step).model) for step in run.steps()],
                also=[(other.directory.name, other.model, other.tokenizer) for other in also],
                **settings,
            )
        )

    def init(self, **settings: Any) -> Shown:
        """Every named initialisation of the run's model, measured and trained for a few steps; the run stays as it is.

        Settings as in `inspection.init.initialisations`: steps, target, progress.
        """
        from clearhead.inspection.init import initialisations

        return Shown(
            initialisations(self.model, self.config, self.data, self.runtime, run=self.directory.name, **settings)
        )

    def lens(self, text: str | None = None, **settings: Any) -> Shown:
        """What each layer would say on a text, one logit taken apart, and patching with another text.

        Settings as in `inspection.lens.lens`: position, token, against, other.
        """
        from clearhead.inspection.lens import lens

        about = {"data": self.data if text is None else None, "run": self.directory.name}
        return Shown(lens(self.model, self.tokenizer, text, **about, **settings))

    def loss(self, text: str | None = None, **settings: Any) -> Shown:
        """Bits of every token of a text (by default where the validation text begins), beside what counting needs.

        And of the validation text: where they go, and what the model gains from the context that it sees. Settings as
        in `inspection.loss.loss`: read.
        """
        from clearhead.inspection.loss import loss

        about = {"mixture": self._mixed(), "run": self.directory.name, "runtime": self.runtime.exact}
        return Shown(loss(self.model, self.tokenizer, self.data, text, **about, **settings))

    def gains(self, targets: int = 600) -> "Gains":
        """What every rung of the ladder, and the model after 1, 2, 4, ... tokens, pays for each token where the
        validation text begins."""
        from clearhead.inspection.gains import gains

        return gains(self.model, self.tokenizer, self.data, self._mixed(), targets)

    def _mixed(self) -> "MixtureLanguageModel | None":
        """The run's mixture, or the one that its GPT makes; None for other models, and without a dev split."""
        from clearhead.evaluation.mixing import has_dev
        from clearhead.models.gpt import GPTLanguageModel
        from clearhead.models.mixture import MixtureLanguageModel
        from clearhead.training.job import mix

        if isinstance(self.model, MixtureLanguageModel):
            return self.model
        if not isinstance(self.model, GPTLanguageModel) or not self.model.predicts or not has_dev(self.data):
            return None
        return mix(self.directory, self.model, self.data, self.tokenizer, self.runtime, ())[0]

    def next(self, prompt: str | None = None, **settings: Any) -> Shown:
        """How the next token after a prompt is drawn; the token is the one that `generate` writes first.

        Settings as in `inspection.next.next_token`: temperature, top_k, top_p, seed, row.
        """
        from clearhead.inspection.next import next_token

        return Shown(next_token(self.model, self.tokenizer, prompt, run=self.directory.name, **settings))

    def one_step(self, text: str | None = None, **settings: Any) -> Shown:
        """One pass through the model in shapes and numbers; with `backward` one training step on a copy of it.

        Settings as in `inspection.step.step`: block, backward.
        """
        from clearhead.inspection.backward import Memory
        from clearhead.inspection.step import step
        from clearhead.runs.checkpoint import final_checkpoint, load_checkpoint

        memory = None
        if settings.get("backward"):
            kept = self.step in self.directory.steps()
            checkpoint = load_checkpoint(self.directory, self.step) if kept else final_checkpoint(self.directory)
            memory = Memory(checkpoint.step, checkpoint.optimizer)
        data = self.data if text is None else None
        about = {"data": data, "train": self.config.train, "memory": memory, "run": self.directory.name}
        return Shown(step(self.model, self.tokenizer, text, **about, **settings))

    def report(self, progress: Callable[[str], None] = lambda line: None) -> Shown:
        """All views that apply to the run's model, those that do not with the reason."""
        from clearhead.inspection.report import report

        model, ids = self.model, self.data.ids("val")
        prompt = self.tokenizer.decode(ids[:PROMPT]) if len(ids) else None
        looks: dict[str, Callable[[], Shown]] = {
            "loss": lambda: self.loss(read=REPORT_READ),
            "bigram": self.bigram,
            "embeddings": self.embeddings,
            "attention": self.attention,
            "lens": self.lens,
            "next": lambda: self.next(prompt),
            "trick": self.trick,
            "step": lambda: self.one_step(backward=True),
            "init": lambda: self.init(steps=REPORT_STEPS),
        }
        about = f"{model.kind} of {model.num_parameters():,} parameters on {self.data.meta.name}"
        views = {name: lambda look=look: look().view for name, look in looks.items()}
        return Shown(report(self.directory.name, about, views, progress))

    def trace(self, text: str) -> "Trace":
        """Every number between a text and its logits; the last block_size tokens of a longer one.

        ConfigError for a model without layers and for an empty text; TokenizerError for unknown characters.
        """
        from clearhead.inspection.passage import read_passage
        from clearhead.inspection.trace import trace

        return trace(self.model, read_passage(text, self.model, self.tokenizer).idx)

    def trick(self, text: str | None = None) -> Shown:
        """The past of each token of a text averaged in four ways: loop, matrix, softmax, attention with equal keys."""
        from clearhead.inspection.trick import trick

        data = self.data if text is None else None
        return Shown(trick(self.model, self.tokenizer, text, data=data, run=self.directory.name))
