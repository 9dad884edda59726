"""`clearhead try`: one knob, paired seeds, one verdict."""

import dataclasses
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clearhead.cli.arguments import Switch, Words, given_flags, parse
from clearhead.cli.inspect.common import Common, show
from clearhead.config import RunConfig
from clearhead.experiments.recipe import SEEDS, configure

if TYPE_CHECKING:
    from clearhead.experiments.conduct import Watcher


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Turn one knob and see what it does: short runs over the same seeds and the same batches, and one verdict.

    clearhead try n_embd=2,8,32,128 input.txt

    clearhead try positions=learned,rope,none

    clearhead try learning_rate=1e-4,1e-3,1e-2 --max_iters 500 --seeds 5

    clearhead try tokenizer=char,word,byte --time 20s

    clearhead try scale=on,off --n_embd 128

    clearhead try n_embd=8,32 n_layer=1,2

    clearhead try --search 20 learning_rate=1e-4..1e-2 n_layer=1..4 norm=layernorm,none

    A knob is any setting below by its name (dropout=0,0.2 norm=layernorm,none init=normal,xavier model=bigram,gpt
    preset=lecture,modern ...), or a part of the GPT, on or off: scale, mask, residual, feed_forward. Two knobs make a
    grid. CORPUS is what `train` takes; without one: shakespeare where it is at hand, else python-docs.

    Every setting makes the same number of steps, or with --time trains for as long. All other flags hold for all runs;
    those that are not given are small, so that a run takes seconds. Runs lie in --out like any other. Who gives the
    same command again goes on where it stopped: what is done is not done again. The verdict is on the whole validation
    text; its intervals hold the noise of the text and of the seeds, and are widened for the number of settings.
    """

    corpus: Words = ()
    """The text, beside knobs as name=value,value."""
    seeds: int = SEEDS
    """Runs of each setting, from --seed on."""
    time: str | None = None
    """How long each run trains, as 20s or 2m, instead of --max_iters (the pace is measured first)."""
    search: int | None = None
    """Try this many settings of several knobs, name=low..high or name=value,value, by the loss on dev; then hold the
    best against the default over fresh seeds (needs the extra `search`)."""
    yes: Switch = False
    """Begin also what takes longer than half an hour."""
    settings: RunConfig = field(default_factory=lambda: configure({}))
    """Settings of all runs."""


def run(argv: Sequence[str]) -> int:
    """Make the runs that are missing; print the table and the verdict."""
    knobs, rest = apart(argv)
    arguments = parse(Arguments, "try", rest, Arguments())

    from clearhead.errors import ConfigError
    from clearhead.experiments.conduct import LONG, Stopped
    from clearhead.experiments.entrance import answer
    from clearhead.experiments.knobs import read_knob
    from clearhead.experiments.search import read_space

    if not knobs:
        raise ConfigError("no knob to turn; name one and its values, as in: clearhead try n_embd=8,32")
    try:
        found = answer(
            [(read_space if arguments.search else read_knob)(word) for word in knobs],
            arguments.corpus,
            given(arguments.settings, rest),
            seeds=arguments.seeds,
            time=arguments.time,
            trials=arguments.search,
            out=arguments.out,
            most_seconds=None if arguments.yes else LONG,
            watcher=_watcher(arguments.json),
        )
    except Stopped as stopped:
        print(f"{stopped}; go on with the same command", file=sys.stderr)
        return 128 + stopped.signal
    return show(found.shown, arguments)


def apart(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Knobs, and the other words: a knob may stand anywhere.

    >>> apart(["n_embd=8,32", "--seeds=5", "input.txt"])
    (['n_embd=8,32'], ['--seeds=5', 'input.txt'])
    """
    knobs = [word for word in argv if re.match(r"\w[\w-]*=", word)]
    return knobs, [word for word in argv if word not in knobs]


def given(settings: RunConfig, argv: Sequence[str]) -> dict[str, Any]:
    """What of the settings stands on the command line, by the flags' names."""
    named, found = given_flags(argv), dict[str, Any]()
    for section in dataclasses.fields(settings):
        value = getattr(settings, section.name)
        inner = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else {section.name: value}  # pyright: ignore[reportArgumentType]
        found |= {name: each for name, each in inner.items() if {name, f"no_{name}"} & named}
    return found


def _watcher(as_json: bool) -> "Watcher":
    from clearhead.experiments.console import watcher

    return watcher(sys.stderr if as_json else sys.stdout)
