"""What all views of `clearhead inspect` take, and how they show what they found."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clearhead.cli.arguments import RUNS, Switch, unescape

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.views import Shown


@dataclass(frozen=True, kw_only=True)
class Common:
    """Flags of every view."""

    out: Path = RUNS
    """The folder that holds runs."""
    json: Switch = False
    """Print one JSON document."""
    html: Path | None = None
    """Write a page of figures and text that needs no network."""
    png: Path | None = None
    """Write the figures as PNG (Chrome or Chromium is needed)."""
    svg: Path | None = None
    """Write the figures as SVG (Chrome or Chromium is needed)."""


def loaded(run: str | None, arguments: Common) -> "Run":
    """The run to look into: by path or name, else the newest."""
    from clearhead import api

    return api.load(run, out=arguments.out)


def text_and_run(text: str | None, run: str | None, arguments: Common) -> tuple[str | None, str | None]:
    """The words of a view of a text: the text, then the run. One word that names a run is the run, and no text."""
    if text is not None and run is None and _names_run(text, arguments.out):
        return None, text
    return None if text is None else unescape(text), run


def _names_run(word: str, out: Path) -> bool:
    from clearhead.runs.directory import is_run

    try:
        return bool(word) and (is_run(out / word) or is_run(Path(word)))
    except OSError:  # a text may be longer than any name
        return False


def show(found: "Shown", arguments: Common) -> int:
    """Print the view or its JSON, write the files that are asked for."""
    from clearhead.cli.report import print_json

    written = []
    for path, suffix in ((arguments.html, ".html"), (arguments.png, ".png"), (arguments.svg, ".svg")):
        if path is not None:
            written += found.save(path if path.suffix == suffix else path.with_name(path.name + suffix))
    if arguments.json:
        print_json(found.to_dict())
        return 0
    print(found)
    for path in written:
        print(path)
    return 0
