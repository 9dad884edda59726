"""`clearhead chat`: type a beginning, the model goes on."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from clearhead.cli.arguments import RUNS, parse, unescape
from clearhead.config import SamplingConfig
from clearhead.errors import ClearheadError, ConfigError, did_you_mean

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.models.base import LanguageModel

CHOICES = 8
"""Tokens that /why shows."""
SHORT = 120
"""Tokens that each rung may say."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Type a beginning, and the model goes on from it. /help lists what else can be typed.

    This is a base model: it continues text, it does not answer. Ctrl-C ends a text, then the chat; so does /quit.
    """

    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest)."""
    out: Path = RUNS
    """The folder that holds runs."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(max_new_tokens=200))
    """How the next token is drawn."""


def run(argv: Sequence[str]) -> int:
    """Read lines until there are no more."""
    arguments = parse(Arguments, "chat", argv)

    from clearhead import api

    with suppress(ImportError):  # arrow keys bring back what was typed, where the system has readline
        import readline  # noqa: F401
    trained = api.load(arguments.run, out=arguments.out)
    sampling = replace(arguments.sampling, stop=tuple(map(unescape, arguments.sampling.stop)))
    print(
        f"{trained.path.name}, a {trained.model.kind} of {trained.model.num_parameters():,} parameters.\n"
        "This is a base model: it continues what you type in the manner of its text. It understands no question.\n"
        "Type a beginning; an empty line goes on; /help lists the rest.",
    )
    chat = Chat(trained, sampling)
    for line in _lines():
        if not chat.take(line):
            break
    return 0


def _lines() -> Iterator[str]:
    """What is typed or piped in, until its end or Ctrl-C; only a person sees the prompt sign."""
    asked = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            yield input(asked)
        except (EOFError, KeyboardInterrupt):
            if asked:
                print()
            return


class Chat:
    """What is said so far, and what a typed line does about it."""

    def __init__(self, trained: "Run", sampling: SamplingConfig) -> None:
        self.run, self.sampling = trained, sampling
        self.text = ""
        """The beginning that was typed last, and what the model made of it."""
        self.prompt = ""
        self.typed: list[str] = []
        self.row = 0
        self.commands: dict[str, tuple[Callable[[str], None], str]] = {
            "temperature": (self.temperature, "below 1 bolder, above 1 wilder, 0 always the likeliest"),
            "seed": (self.seed, "begin again with this seed: the same beginnings give the same texts"),
            "why": (self.why, "the likeliest next tokens after what stands here"),
            "ladder": (self.ladder, "hear the last beginning continued by every rung, from counting to this model"),
            "history": (self.history, "what was typed"),
            "help": (self.help, "this"),
        }

    def take(self, line: str) -> bool:
        """Do what a line asks; False when that is to end."""
        if not line.startswith("/"):
            self.speak(line)
            return True
        name, _, rest = line[1:].partition(" ")
        if name in ("quit", "exit"):
            return False
        try:
            if name not in self.commands:
                raise ConfigError(f"unknown command '/{name}': {did_you_mean(name, [*self.commands, 'quit'])}")
            self.commands[name][0](rest.strip())
        except ClearheadError as error:
            print(f"note: {error}")
        return True

    def speak(self, line: str) -> None:
        """Continue a new beginning, or with an empty line what stands here. Ctrl-C ends the text."""
        if line:
            self.typed.append(line)
            self.prompt = self.text = unescape(line)
        print(self.text if line else "", end="", flush=True)
        with suppress(KeyboardInterrupt):
            for piece in self.run.stream(self.text, row=self.row, **asdict(self.sampling)):
                print(piece, end="", flush=True)
                self.text += piece
        self.row += 1  # the same beginning goes on differently the next time
        print()

    def temperature(self, rest: str) -> None:
        """Set it, or tell it."""
        if rest:
            self.sampling = replace(self.sampling, temperature=float(_number(rest, float)))
        print(f"temperature {self.sampling.temperature:g}")

    def seed(self, rest: str) -> None:
        """Set it and count samples anew, or tell it."""
        if rest:
            self.sampling, self.row = replace(self.sampling, seed=int(_number(rest, int))), 0
        print(f"seed {self.sampling.seed}, sample {self.row}")

    def why(self, rest: str) -> None:
        """The likeliest next tokens with their probabilities, at the temperature that is set."""
        from clearhead.generation.batch import logits_after
        from clearhead.generation.sampling import probabilities
        from clearhead.generation.text import encode_prompt

        logits = logits_after(self.run.model, encode_prompt(self.run.tokenizer, self.text).ids)
        probs = probabilities(logits, self.sampling.temperature, self.sampling.top_k, self.sampling.top_p)[0]
        best = probs.topk(min(CHOICES, len(probs)))
        print(f"after {self.text[-30:]!r}, at temperature {self.sampling.temperature:g}:")
        for p, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            print(f"  {self.run.tokenizer.decode([token])!r:<8} {p:7.2%}  {'#' * round(40 * p)}")

    def ladder(self, rest: str) -> None:
        """The last beginning from every rung, with the same random numbers."""
        from clearhead.generation.text import stream_text

        short = replace(self.sampling, max_new_tokens=min(SHORT, self.sampling.max_new_tokens))
        for name, model in self._rungs.items():
            said = "".join(stream_text(model, self.run.tokenizer, self.prompt, short))
            print(f"--- {name}\n{self.prompt}{said}")

    @cached_property
    def _rungs(self) -> "dict[str, LanguageModel]":
        return self.run.rung_models()

    def history(self, rest: str) -> None:
        """What was typed, the oldest first."""
        for number, line in enumerate(self.typed, start=1):
            print(f"{number:>3}  {line}")

    def help(self, rest: str) -> None:
        """Every command with a line about it."""
        print("Type a beginning, and the model goes on; an empty line goes on from there; \\n is a line end.")
        for name, (_, about) in self.commands.items():
            print(f"  /{name:<12} {about}")
        print(f"  /{'quit':<12} end; Ctrl-D does, too")


def _number(word: str, kind: type[float] | type[int]) -> float | int:
    try:
        return kind(word)
    except ValueError:
        raise ConfigError(f"'{word}' is no number; try {'0.8' if kind is float else '7'}") from None
