"""Predictions are read kindly and held against what was measured."""

import pytest

from clearhead.errors import ConfigError
from clearhead.lessons.parts import Answer, Ask, Bars, Table
from clearhead.lessons.predicting import beside, outcome, read_guess

NUMBER = Ask("How many?")
CHOICE = Ask("Which?", (("a", "the first"), ("b", "the second")))


@pytest.mark.parametrize(
    ("typed", "guess"), [("65\n", 65.0), ("4,225", 4225.0), (" 0.25 ", 0.25), ("", None), ("\n", None)]
)
def test_numbers_are_read(typed: str, guess: float | None) -> None:
    assert read_guess(NUMBER, typed) == guess


@pytest.mark.parametrize("typed", ["many", "nan", "inf", "1e999", "--"])
def test_what_is_no_number_is_said(typed: str) -> None:
    with pytest.raises(ConfigError, match="is no number; give one, or Enter"):
        read_guess(NUMBER, typed)


def test_choices_are_read() -> None:
    assert read_guess(CHOICE, "B\n") == "b"
    with pytest.raises(ConfigError, match="'c' is none of a, b"):
        read_guess(CHOICE, "c")


@pytest.mark.parametrize(
    ("guess", "right", "words"),
    [
        (65.0, True, "You said 65, and so it is."),
        (60.0, True, "You said 60. Measured: 65: close."),
        (10.0, False, "You said 10. Measured: 65."),
        (None, None, "Measured: 65."),
    ],
)
def test_a_number_beside_the_answer(guess: float | None, right: bool | None, words: str) -> None:
    found = outcome(NUMBER, guess, Answer(65, "why"))
    assert found.right is right
    assert beside(NUMBER, found) == words


def test_a_choice_beside_the_answer() -> None:
    right, wrong = (outcome(CHOICE, guess, Answer("b", "why")) for guess in "ba")
    assert (right.right, wrong.right) == (True, False)
    assert beside(CHOICE, right) == "You said b (the second), and so it is."
    assert beside(CHOICE, wrong).startswith("You said a (the first). Measured: b (the second).")


def test_nothing_measured_is_zero_and_may_be_predicted() -> None:
    assert outcome(NUMBER, 0.0, Answer(0, "why")).right
    assert not outcome(NUMBER, 1.0, Answer(0, "why")).right


def test_tables_and_bars_are_aligned() -> None:
    table = Table.of("a | b | c", [["long", 1, "it is 1"], ["x", "-2.5e-03", "no"]])
    assert table.lines() == ["a            b  c", "long         1  it is 1", "x     -2.5e-03  no"]
    assert Bars("t", (("x", 1.0), ("yy", 2.0)), ".0f").lines(4) == ["x   ██ 1", "yy  ████ 2"]
    assert Bars("t", (("x", 0.0),), ".0f").lines(4) == ["x   0"]
