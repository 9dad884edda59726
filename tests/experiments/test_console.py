"""What somebody sees who waits: a table that fills on a terminal, lines elsewhere."""

import io

import pytest
from rich.console import Console

from clearhead.experiments.conduct import conduct
from clearhead.experiments.console import Filling, Lines, watcher
from clearhead.experiments.design import Texts, draw_up
from clearhead.experiments.knobs import read_knob

TINY = {"n_layer": 1, "batch_size": 4, "block_size": 16, "max_iters": 10, "eval_iters": 2, "device": "cpu"}


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_the_table_fills(poem, tmp_path):
    shown = watcher(Terminal())
    assert isinstance(shown, Filling)
    design = draw_up([read_knob("n_embd=4,8")], Texts([str(poem)]), TINY, seeds=2)
    seen: list[str] = []

    class Looking(Filling):
        def end(self, arm, seed, run, *, before):
            super().end(arm, seed, run, before=before)
            drawn = Console(file=io.StringIO(), width=100)
            drawn.print(self.table())
            seen.append(drawn.file.getvalue())  # pyright: ignore[reportAttributeAccessIssue]

    conduct(design, tmp_path, Looking(Terminal()))
    counts = [line.split()[1] for table in seen for line in table.splitlines() if line.startswith("n_embd=")]
    assert counts == ["1/2", "0/2", "1/2", "1/2", "2/2", "1/2", "2/2", "2/2"]
    assert "±" in seen[-1]


def test_lines_where_there_is_no_terminal(poem, tmp_path, capsys):
    told = io.StringIO()
    assert isinstance(watcher(told), Lines)
    conduct(draw_up([read_knob("n_embd=4,8")], Texts([str(poem)]), TINY, seeds=1), tmp_path, watcher(told))
    ahead, first, second = told.getvalue().splitlines()
    assert ahead.startswith("2 settings, 1 seed each: about ")
    assert first.startswith("1/2  n_embd=4, seed 1337: about ")
    assert second.startswith("2/2  n_embd=8, seed 1337: about ")


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_closing_what_never_began_is_harmless(stream):
    watcher(stream).close()
