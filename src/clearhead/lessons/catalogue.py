"""All lessons, found by the names of their files."""

import pkgutil
from functools import cache
from importlib import import_module

import clearhead.lessons
from clearhead.errors import ConfigError, did_you_mean
from clearhead.lessons.lesson import Lesson

PREFIX = "lesson_"


@cache
def lessons() -> dict[str, Lesson]:
    """Slug -> lesson, in the order of their numbers."""
    names = (module.name for module in pkgutil.iter_modules(clearhead.lessons.__path__))
    found = [import_module(f"clearhead.lessons.{name}").LESSON for name in names if name.startswith(PREFIX)]
    return {lesson.slug: lesson for lesson in sorted(found, key=lambda lesson: lesson.number)}


def find(name: str) -> Lesson:
    """A lesson by its number or its slug; ConfigError with the nearest one."""
    known = lessons()
    for lesson in known.values():
        if name in (lesson.slug, str(lesson.number)):
            return lesson
    if name.isdigit():
        numbers = ", ".join(str(lesson.number) for lesson in known.values())
        raise ConfigError(f"there is no lesson {name}; choose one of {numbers}")
    raise ConfigError(f"unknown lesson '{name}': {did_you_mean(name, known)}; clearhead learn lists them")


def after(lesson: Lesson) -> Lesson | None:
    """The next lesson; None after the last."""
    return next((other for other in lessons().values() if other.number > lesson.number), None)
