"""How turns of a conversation become one text: what a base model needs to be told before it can seem to chat."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from clearhead.errors import ConfigError, did_you_mean
from clearhead.fields import load_config

CONTENT = "{content}"


@dataclass(frozen=True)
class Template:
    """One pattern per role with {content} in it, and what stands before the answer."""

    user: str
    assistant: str
    reply: str
    """The text ends with this, and the model goes on."""
    system: str = "{content}\n"
    stop: tuple[str, ...] = ()
    """The answer ends before any of these, such as the beginning of the next user's turn."""

    @classmethod
    def read(cls, path: Path) -> "Template":
        """The template of a TOML file; ConfigError says what it lacks."""
        values = load_config(path)
        known = {field.name for field in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise ConfigError(f"{path} has the setting '{unknown[0]}': {did_you_mean(unknown[0], known)}")
        for name in ("user", "assistant", "reply"):
            if name not in values:
                raise ConfigError(f"{path} lacks {name}; a template has user, assistant and reply")
        stop = values.pop("stop", [])
        if not all(isinstance(value, str) for value in values.values()):
            raise ConfigError(f"{path}: every setting but stop is a text")
        if not (isinstance(stop, list) and all(isinstance(text, str) and text for text in stop)):
            raise ConfigError(f"{path}: stop is a list of texts that are not empty")
        for name in ("user", "assistant", "system"):
            if CONTENT not in values.get(name, CONTENT):
                raise ConfigError(f"{path}: {name} has no {CONTENT}, where the message goes")
        return cls(**values, stop=tuple(stop))

    def prompt(self, turns: list[tuple[str, str]]) -> str:
        """The text for turns of (role, content).

        >>> Template("Q: {content}\\n", "A: {content}\\n", "A:").prompt([("user", "Who?")])
        'Q: Who?\\nA:'
        """
        patterns: Mapping[str, Any] = {
            "system": self.system,
            "developer": self.system,
            "user": self.user,
            "assistant": self.assistant,
        }
        return "".join(patterns[role].replace(CONTENT, content) for role, content in turns) + self.reply
