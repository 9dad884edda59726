"""Views as one HTML file that needs nothing else: plotly.js inside, no network, text as text."""

from collections.abc import Sequence
from html import escape

from plotly.io import to_html as figure_html
from plotly.offline import get_plotlyjs

from clearhead.figures import figures_of
from clearhead.inspection.report import Report
from clearhead.inspection.view import View

STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --box: #f6f6f6; --rule: #ddd; --link: #0072B2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #16181c; --box: #1f2228; --rule: #3a3e46; --link: #6cb8e6; }
}
html { scroll-padding-top: 3.5rem; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto 4rem; max-width: 1100px; padding: 0 1rem;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.15rem; margin-top: 2.5rem; border-top: 1px solid var(--rule); padding-top: 1rem; }
pre { background: var(--box); padding: .8rem; overflow-x: auto; font-size: 13px; line-height: 1.35; }
a { color: var(--link); }
nav { position: sticky; top: 0; z-index: 10; background: var(--paper); padding: .6rem 0;
  border-bottom: 1px solid var(--rule); }
nav a { margin-right: 1rem; white-space: nowrap; }
.failed { color: #D55E00; }
@media print { nav { position: static; } pre { white-space: pre-wrap; } }
"""
DARK = """
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const colours = {paper_bgcolor: "#16181c", plot_bgcolor: "#16181c", font: {color: "#ddd"}};
  const axis = {gridcolor: "#33373f", zerolinecolor: "#555b66"};
  const paint = () => document.querySelectorAll(".plotly-graph-div").forEach((div) => {
    div.light ??= div.layout.template.layout;
    const light = div.light;
    const night = {...light, ...colours, font: {...light.font, ...colours.font},
      xaxis: {...light.xaxis, ...axis}, yaxis: {...light.yaxis, ...axis}};
    Plotly.relayout(div, {template: {...div.layout.template, layout: dark.matches ? night : light}});
  });
  if (dark.matches) paint();
  dark.addEventListener("change", paint);
})();
"""
"""Figures follow the reader's colours: only their template changes."""


def page(views: Sequence[View], title: str) -> str:
    """The HTML of some views: for each its title, its figures, its text; of a report for all of its views."""
    sections = [section for view in views for section in _sections(view)]
    links = [f'<a href="#{escape(name)}">{escape(word)}</a>' for name, word, _ in sections]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            f"<script>{get_plotlyjs()}</script></head><body>",
            f"<h1>{escape(title)}</h1>",
            f"<nav>{' '.join(links)}</nav>" if len(sections) > 1 else "",
            *(html for _, _, html in sections),
            f"<script>{DARK}</script></body></html>\n",
        ]
    )


def _sections(view: View) -> list[tuple[str, str, str]]:
    """The anchor, the word and the HTML of each section."""
    if not isinstance(view, Report):
        name = type(view).__module__.rpartition(".")[2]
        return [(name, view.title.split(":")[0], _section(name, view.title, _pictures(view, name), str(view)))]
    first = ("report", "summary", f'<pre id="report">{escape(str(view))}</pre>')
    parts = [(part.name, part.name, _part(part.name, part.view)) for part in view.parts]
    missing = [
        f"<p{' class=failed' if one.failed else ''}><b>{escape(one.name)}</b>: {escape(one.reason)}</p>"
        for one in view.left_out
    ]
    last = ("without", "what is not here", f'<h2 id="without">What is not here, and why</h2>{"".join(missing)}')
    return [first, *parts, *([last] if missing else [])]


def _part(name: str, view: View) -> str:
    """A view of a report; where its figures cannot be made the reason, and the text all the same."""
    try:
        pictures = _pictures(view, name)
    except Exception as error:  # a bug in one figure must not cost a reader the other views
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        pictures = f"<p class=failed>the figures could not be drawn: {escape(reason)}</p>"
    return _section(name, view.title, pictures, str(view))


def _section(name: str, title: str, pictures: str, text: str) -> str:
    return f'<h2 id="{escape(name)}">{escape(title)}</h2>{pictures}<pre>{escape(text)}</pre>'


def _pictures(view: View, name: str) -> str:
    """The figures as elements that plotly.js draws, as wide as the page."""
    config = {"displaylogo": False, "responsive": True}
    return "".join(
        figure_html(drawn, include_plotlyjs=False, full_html=False, config=config, div_id=f"{name}-{which}")
        for which, drawn in figures_of(view).items()
    )
