"""What the student predicted, beside what was measured."""

from dataclasses import dataclass

from clearhead.errors import ConfigError
from clearhead.lessons.parts import Answer, Ask

Guess = float | str


@dataclass(frozen=True)
class Outcome:
    """A prediction and its answer, as they are kept."""

    question: str
    predicted: Guess | None
    """None where nothing was predicted."""
    measured: Guess
    right: bool | None
    """A number is right when it is close."""


def read_guess(ask: Ask, typed: str) -> Guess | None:
    """What was typed, as a prediction: None for nothing; ConfigError for what is no number or no choice."""
    typed = typed.strip()
    if not typed:
        return None
    if ask.choices:
        letters = [letter for letter, _ in ask.choices]
        if typed.lower() not in letters:
            raise ConfigError(f"'{typed}' is none of {', '.join(letters)}; give a letter, or Enter to go on without")
        return typed.lower()
    try:
        value = float(typed.replace(",", "").replace("_", "").removesuffix("%"))
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise ConfigError(f"'{typed}' is no number; give one, or Enter to go on without")
    return value


def outcome(ask: Ask, guess: Guess | None, answer: Answer) -> Outcome:
    """Hold a prediction against what was measured."""
    right = None
    if isinstance(guess, str) or isinstance(answer.value, str):
        right = None if guess is None else guess == answer.value
    elif guess is not None:
        right = abs(guess - answer.value) <= ask.near * abs(answer.value)
    return Outcome(ask.question, guess, answer.value, right)


def beside(ask: Ask, found: Outcome) -> str:
    """The prediction beside the measured answer, in a sentence."""
    measured = spoken(ask, found.measured)
    if found.predicted is None:
        return f"Measured: {measured}."
    said = spoken(ask, found.predicted)
    if said == measured:
        return f"You said {said}, and so it is."
    if ask.choices:
        return f"You said {said}. Measured: {measured}. To be surprised is the quickest way to learn."
    return f"You said {said}. Measured: {measured}" + (": close." if found.right else ".")


def spoken(ask: Ask, value: Guess) -> str:
    """A guess or an answer in words.

    >>> spoken(Ask("?", (("a", "smaller"),)), "a"), spoken(Ask("?"), 4225.0), spoken(Ask("?"), 0.25)
    ('a (smaller)', '4,225', '0.25')
    """
    if isinstance(value, str):
        return f"{value} ({dict(ask.choices).get(value, '?')})"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"
