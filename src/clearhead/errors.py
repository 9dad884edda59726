"""What can go wrong, by whose hand. Each message is one line: the value, the reason, the next step."""

import difflib
from collections.abc import Iterable
from pathlib import Path

_LONGEST = 800
"""Characters of a message, at most: a value in it may have megabytes."""
MOST_LISTED = 12
"""Names shown beside a suggestion, at most."""


class ClearheadError(Exception):
    """Base of all errors that Clearhead raises on purpose; `exit_code` is the command line's."""

    exit_code = 2

    def __str__(self) -> str:
        """One printable line, whatever a file's name or a broken file put into it."""
        words = super().__str__()
        shown = words if len(words) <= _LONGEST else f"{words[: _LONGEST // 2]} ... {words[-_LONGEST // 2 :]}"
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


class ConfigError(ClearheadError):
    """A setting is impossible, unknown or contradicts another."""


class CorpusError(ClearheadError):
    """A text cannot be found, read or used."""


class TokenizerError(ClearheadError):
    """A text holds what the tokenizer cannot encode, or a tokenizer file is not valid."""


class CheckpointError(ClearheadError):
    """A run or a checkpoint is missing, broken or does not fit."""


class CompleteError(CheckpointError):
    """The run in `path` has nothing left to train."""

    restarted = False
    """Whether that was found in a restart by torchrun, where it is no failure."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class DamageWarning(UserWarning):
    """Something broken was passed over, and something whole was used in its place."""


class DivergenceError(ClearheadError):
    """The loss or a gradient is no longer finite; training stopped, and nothing of it is saved."""

    exit_code = 1


class OutOfMemoryError(ClearheadError):
    """The memory of the machine or of its accelerator does not hold what was asked for."""

    exit_code = 1


class RankLostError(ClearheadError):
    """A process that trains the same run ended, or does not answer."""

    exit_code = 1


class StorageError(ClearheadError):
    """The disk is full, read-only or refuses the write."""

    exit_code = 1


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the nearest known one, then all of them if they are few.

    >>> did_you_mean("gtp", ["gpt", "bigram"])
    "did you mean 'gpt'? (bigram, gpt)"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = f"({', '.join(names)})"
    if not near:
        return f"choose one of {listed}"
    return f"did you mean '{near[0]}'?" + (f" {listed}" if len(names) <= MOST_LISTED else "")
