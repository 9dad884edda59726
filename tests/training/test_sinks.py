"""What readers make of events."""

import io
import json
import math

import pytest
from rich.console import Console

from clearhead.training.console import BarConsole, PlainConsole, duration, indented
from clearhead.training.events import Evaluated, Event, Finished, Notice, Sampled, Started, Stepped
from clearhead.training.sinks import MOST_STEP_LINES, EventFile, TensorBoard, console

RUNGS = {"uniform": 4.17, "unigram": 3.35, "bigram": 2.48, "ngram": 1.52}


def started(**changes: object) -> Started:
    values: dict[str, object] = {
        "step": 0,
        "run": "runs/x",
        "model": "gpt",
        "parameters": 800_000,
        "max_iters": 2_000,
        "tokens_per_step": 768,
        "train_tokens": 76_800,
        "characters_per_token": 1.0,
        "train_characters_per_token": 1.0,
        "device": "cpu",
        "expected_first_loss": 4.17,
        "rungs": RUNGS,
    }
    return Started(**{**values, **changes})  # pyright: ignore[reportArgumentType]


def evaluated(step: int, val: float | None, **changes: object) -> Evaluated:
    below = tuple(name for name, nats in RUNGS.items() if val is not None and val < nats)
    values: dict[str, object] = {"train": 2.0, "dev": val, "best": False, "below": below, "seconds": 1.0}
    return Evaluated(step=step, val=val, **{**values, **changes})  # pyright: ignore[reportArgumentType]


def shown(*events: Event) -> str:
    stream = io.StringIO()
    reader = PlainConsole(stream)
    for event in events:
        reader.handle(event)
    reader.close()
    return stream.getvalue()


def test_the_console_says_when_a_rung_is_passed_and_says_it_once():
    text = shown(started(), evaluated(0, 4.17), evaluated(310, 2.4), evaluated(400, 2.3), evaluated(500, 1.5))
    assert text.count("passed the bigram at step 310") == 1
    assert text.count("passed the ngram at step 500") == 1
    assert "passed the uniform at step 310" in text
    assert "2.4000 nats per token (3.462 bits per character)" in text


def test_bits_per_character_know_how_long_a_token_is():
    text = shown(started(characters_per_token=4.0), evaluated(10, math.log(2) * 8))
    assert "(2.000 bits per character)" in text


@pytest.mark.parametrize(
    ("val", "expected", "says"),
    [
        (4.2, 4.17, "as a model that knows nothing should be"),
        (4.66, 4.67, "this initialisation is sure of itself before it knows anything, which costs 4.670"),
        (6.0, 4.17, "a smaller initialisation starts lower"),
        (2.5, None, "the weights already know something of this text"),
    ],
)
def test_the_first_loss_is_judged(val, expected, says):
    text = shown(started(expected_first_loss=expected), evaluated(0, val))
    assert says in text
    assert "ln V = 4.170" in text


def test_a_run_without_validation_shows_what_it_has():
    text = shown(started(), evaluated(5, None))
    assert "train 2.0000" in text
    assert "val" not in text.split("step 5")[1]


def test_progress_has_speed_and_time_left():
    reader = PlainConsole(io.StringIO())
    reader.handle(started())
    reader.handle(Stepped(1, 4.0, 1e-3, 1.0, 10.0))
    status = reader.status(Stepped(101, 3.0, 1e-3, 1.0, 20.0))
    assert status == "step 101/2,000, epoch 1.01, loss 3.000, 7,680 characters/s, 3 min 10 s left"


def test_text_is_never_markup():
    text = shown(started(), Sampled(1, "[bold]x[/bold]\x1b[31m\nsecond"), Notice(1, "[red]no[/red]"))
    assert "[bold]x[/bold]" in text
    assert "[red]no[/red]" in text
    assert "\x1b" not in text
    assert indented("a\nb") == "  │ a\n  │ b"


@pytest.mark.parametrize(("reason", "says"), [("done", "trained"), ("patience", "no longer improves"),
                                              ("interrupted", "interrupted and saved")])  # fmt: skip
def test_the_end_is_said(reason, says):
    assert says in shown(started(), Finished(7, reason, 65.0))


def test_a_terminal_gets_a_bar():
    stream = io.StringIO()
    bar = BarConsole(stream)
    bar.out = bar.bar.live.console = Console(file=stream, force_terminal=True, width=100, highlight=False)
    for event in (started(), Stepped(500, 3.0, 1e-3, 1.0, 10.0), Finished(500, "done", 20.0)):
        bar.handle(event)
    bar.close()
    assert "trained 500 steps in 20.0 s" in stream.getvalue()
    assert bar.bar.tasks[0].completed == 500


def test_a_pipe_gets_lines():
    assert type(console(io.StringIO())) is PlainConsole


def test_the_event_file_is_json_lines(tmp_path):
    file = EventFile(tmp_path / "events.jsonl")
    file.handle(started(max_iters=10))
    file.handle(Stepped(1, math.inf, 1e-3, math.nan, 1.0))
    file.close()
    first, second = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    assert first["event"] == "started"
    assert first["rungs"] == RUNGS
    assert second == {"event": "stepped", "step": 1, "loss": None, "learning_rate": 1e-3, "grad_norm": None,
                      "seconds": 1.0}  # fmt: skip


def test_a_long_run_writes_some_of_its_steps(tmp_path):
    file = EventFile(tmp_path / "events.jsonl")
    file.handle(started(max_iters=10 * MOST_STEP_LINES))
    for step in range(1, 101):
        file.handle(Stepped(step, 1.0, 1e-3, 1.0, 1.0))
    file.close()
    steps = [json.loads(line)["step"] for line in (tmp_path / "events.jsonl").read_text().splitlines()[1:]]
    assert steps == list(range(10, 101, 10))


@pytest.mark.skipif(not TensorBoard.available(), reason="the extra tensorboard is not installed")
def test_tensorboard_gets_the_scalars(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path)
    for event in (started(), Stepped(1, 3.0, 1e-3, 1.0, 1.0), evaluated(1, 2.5), Finished(1, "done", 1.0)):
        board.handle(event)
    board.close()
    read = EventAccumulator(str(tmp_path)).Reload()
    assert read.Scalars("loss/batch")[0].value == 3.0
    assert read.Scalars("loss/val")[0].value == 2.5


def test_durations():
    assert [duration(s) for s in (0.04, 59.9, 60, 3_600)] == ["0.0 s", "59.9 s", "1 min 0 s", "1 h 0 min"]
