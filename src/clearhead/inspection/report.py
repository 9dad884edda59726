"""All views of a model that apply, in one document; one that fails does not lose the others."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clearhead.errors import ClearheadError
from clearhead.evaluation.table import aligned
from clearhead.inspection.view import HIDDEN, View


@dataclass(frozen=True)
class Part:
    """A view of the report."""

    name: str
    view: View = field(metadata=HIDDEN)
    seconds: float
    """What looking took."""


@dataclass(frozen=True)
class LeftOut:
    """A view that the report is without."""

    name: str
    reason: str
    failed: bool
    """Whether it should have been there: the model has what it shows, but looking went wrong."""


@dataclass(frozen=True)
class Report(View):
    """Views of one run."""

    run: str
    about: str
    """The model in a line."""
    parts: tuple[Part, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def title(self) -> str:
        """Whose report."""
        return f"Report on {self.run}"

    def __str__(self) -> str:
        rows = [*((part.name, f"{part.seconds:.1f} s", part.view.title) for part in self.parts)]
        rows += [(one.name, "failed" if one.failed else "without", one.reason) for one in self.left_out]
        return "\n".join([self.about, *aligned(rows)])

    def to_dict(self) -> dict[str, Any]:
        """What there is, what there is not, and the documents of all views by name."""
        return {**super().to_dict(), "views": {part.name: part.view.to_dict() for part in self.parts}}


def report(
    run: str, about: str, looks: Mapping[str, Callable[[], View]], progress: Callable[[str], None] = lambda line: None
) -> Report:
    """Look with each of `looks`, in order. What does not apply, or fails, is left out with its reason."""
    parts: list[Part] = []
    left_out: list[LeftOut] = []
    for name, look in looks.items():
        start = time.perf_counter()
        try:
            view = look()
            str(view)  # words that fail, fail here
        except ClearheadError as error:
            left_out.append(LeftOut(name, str(error), failed=False))
        except Exception as error:  # a bug in one view must not cost a reader the others
            left_out.append(LeftOut(name, f"{type(error).__name__}: {error}".splitlines()[0], failed=True))
        else:
            parts.append(Part(name, view, time.perf_counter() - start))
        progress(f"{name}: {left_out[-1].reason if name in {one.name for one in left_out} else parts[-1].view.title}")
    return Report(run, about, tuple(parts), tuple(left_out))
