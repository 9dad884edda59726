"""Looks inside a run, as JSON: the views of `clearhead inspect`, with the settings that they have there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.datastructures import QueryParams

from clearhead.errors import ConfigError, did_you_mean
from clearhead.serving.errors import ApiError
from clearhead.studio.replies import to_json

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from clearhead.api import Run
    from clearhead.views import Shown

Reader = Callable[[str], Any]


def _switch(value: str) -> bool:
    if value not in ("", "0", "1", "true", "false"):
        raise ValueError(value)
    return value in ("", "1", "true")


@dataclass(frozen=True)
class Look:
    """How a view is asked for."""

    method: str
    """Of a run."""
    settings: Mapping[str, Reader]
    """Flag of `clearhead inspect` -> how its value is read."""
    several: tuple[str, ...] = ()
    """Those that may be given more than once."""
    quick: bool = True
    """Over in a moment: does not wait for those that read much text, compare all tokens, or train."""


LOOKS = {
    "attention": Look("attention", {"text": str, "layer": int, "head": int, "position": int}, quick=False),
    "bigram": Look("bigram", {"current": str, "following": str}),
    "embeddings": Look(
        "embeddings",
        {"tokens": str, "analogy": str, "also": str, "dimension": int, "projection": str},
        several=("tokens", "analogy", "also", "dimension"),
        quick=False,
    ),
    "init": Look("init", {"steps": int, "target": float}, quick=False),
    "lens": Look("lens", {"text": str, "position": int, "token": str, "against": str, "patch": str}),
    "loss": Look("loss", {"text": str}, quick=False),
    "next": Look("next", {"prompt": str, "temperature": float, "top_k": int, "top_p": float, "seed": int, "row": int}),
    "step": Look("one_step", {"text": str, "layer": int, "backward": _switch}),
    "trick": Look("trick", {"text": str}),
}
ARGUMENTS = {"patch": "other", "dimension": "dimensions", "analogy": "analogies"}
"""Flags whose argument has another name."""


def read_settings(view: str, params: QueryParams) -> tuple[int | None, dict[str, Any]]:
    """The checkpoint and the settings in an address; ApiError for a view, a setting or a value that is none."""
    if view not in LOOKS:
        raise ApiError(404, f"unknown view '{view:.40}': {did_you_mean(view, LOOKS)}", param="view", code="no_view")
    look, found = LOOKS[view], {}
    readers: dict[str, Reader] = {**look.settings, "at": int} if view == "init" else {**look.settings, "step": int}
    for name in dict.fromkeys(params):
        if name not in readers:
            raise ApiError(400, f"unknown setting '{name:.40}': {did_you_mean(name, readers)}", param=name)
        try:
            values = [readers[name](value) for value in params.getlist(name)]
        except ValueError:
            raise ApiError(400, f"{name}={params[name]!r:.80} cannot be read as a number", param=name) from None
        if len(values) > 1 and name not in look.several:
            raise ApiError(400, f"{name} is given {len(values)} times; give it once", param=name)
        found[name] = values if name in look.several else values[0]
    return found.pop("at" if view == "init" else "step", None), found


def look(run: "Run", view: str, settings: dict[str, Any], load: Callable[[str], "Run"]) -> bytes:
    """What a view finds, with its figures, as a JSON document; `load` reads the other runs that it names."""
    shown = getattr(run, LOOKS[view].method)(**_arguments(view, settings, load))
    return document(shown, run.step)


def document(shown: "Shown", step: int) -> bytes:
    """A view as JSON: its title, its text, its numbers, its figures as plotly draws them."""
    about = to_json({"title": shown.view.title, "text": str(shown.view), "numbers": shown.to_dict(), "step": step})
    figures = b",".join(
        b"%s:%s" % (json.dumps(name).encode(), figure_json(figure)) for name, figure in shown.figures().items()
    )
    return b'%s,"figures":{%s}}' % (about[:-1], figures)


def figure_json(figure: "Figure") -> bytes:
    """A figure as plotly.js draws it: {"data": [...], "layout": {...}}."""
    written = figure.to_json()
    assert written is not None
    return written.encode("ascii", "backslashreplace") if written.isascii() else to_json(json.loads(written))


def _arguments(view: str, settings: dict[str, Any], load: Callable[[str], "Run"]) -> dict[str, Any]:
    """Settings by the names that a run's method has for them."""
    found = {ARGUMENTS.get(name, name): value for name, value in settings.items()}
    if view == "step":
        found = {"block" if name == "layer" else name: value for name, value in found.items()}
    if "analogies" in found:
        if len(asked := found["analogies"]) != 3:
            raise ConfigError(f"an analogy takes three tokens and {len(asked)} were given; give man, king and woman")
        found["analogies"] = [tuple(asked)]
    if "also" in found:
        found["also"] = [load(name) for name in found["also"]]
    return found
