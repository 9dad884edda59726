"""Verbs only: find the verb, let it run, say in one line what went wrong."""

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from keyword import iskeyword
from types import ModuleType
from typing import Any

from clearhead import __version__
from clearhead.errors import ClearheadError, ConfigError, DamageWarning, did_you_mean
from clearhead.runtime import share_cores

VERBS = {
    "look": "What a text is made of: vocabulary, split, documents, one batch as the model will see it.",
    "tokenize": "How a text is cut into tokens: its pieces, how many, and how much of the vocabulary they use.",
    "prepare": "Make a text of any size ready: tokens in shards on the disk, which train reads without loading them.",
    "train": "Train a model on a text, beside the counted rungs that say how good it is.",
    "resume": "Go on with an interrupted run, exactly where its last checkpoint stands.",
    "ladder": "Score counted models and your runs on the same validation text, or tell whether one run is better.",
    "generate": "Let a model write: from a prompt, a file or nothing.",
    "learn": "The course: the questions that everyone has, answered by experiments on your own text.",
    "chat": "Type a beginning and the model goes on; see its choices, hear every rung of the ladder.",
    "serve": "Let programs that speak the OpenAI API use your runs, on this machine.",
    "studio": "One page in your browser: train, watch, play with and look into your models.",
    "inspect": "See inside: tables, heads, embeddings, layers, losses, with exact numbers and figures.",
    "try": "Turn one knob over paired seeds: what differs, by how much, or no difference shown.",
    "memorisation": "Does a model copy? What samples share with the training text, beside what fresh text shares.",
    "import": "Make a run of weights that nanoGPT or the lecture's code has trained.",
    "runs": "List the runs; verify them, export one to a file, import it elsewhere.",
    "doctor": "This machine: device, versions, threads, speed, room on the disk.",
}
"""Verb -> one line; each lives in the module of its name in this package (see `module_of`)."""

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """The command `clearhead`; returns its exit code: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    try:
        return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except ClearheadError as error:
        print(f"clearhead: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("clearhead: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"clearhead: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return 1


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"clearhead {__version__}")
        return 0
    verb, *rest = argv
    if verb not in VERBS:
        raise ConfigError(f"unknown verb '{verb}': {did_you_mean(verb, VERBS)}")
    share_cores()
    warnings.showwarning = _show_warning
    return module_of(verb).run(rest)


def _show_warning(message: Warning | str, category: type[Warning], *where: Any) -> None:
    """What was passed over is one line for a person; other warnings stay as Python shows them."""
    if issubclass(category, DamageWarning):
        print(f"note: {message}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, str(where[0]), int(where[1])))


def module_of(verb: str) -> ModuleType:
    """The module of a verb; `import` is a word of Python's own, so its file is import_.py."""
    return import_module(f"clearhead.cli.{verb}{'_' * iskeyword(verb)}")


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {line}" for name, line in VERBS.items())
    return (
        "usage: clearhead VERB [ARGUMENTS]\n\n"
        "Train a small language model on your own text, learn exactly how good it is, and talk to it.\n\n"
        f"{verbs}\n\n"
        "  clearhead VERB --help    all there is to say about one verb\n"
        "  clearhead --version\n\n"
        "Start with:  clearhead train your-text.txt"
    )
