"""What verbs show: tables for a person, one JSON document for a script."""

import json
import sys
from typing import Any

from rich.console import Console

from clearhead.fields import finite


def console() -> Console:
    """Standard output as a rich console that marks up nothing by itself; a pipe is 120 columns wide."""
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on standard output, and nothing else. What is not finite becomes null."""
    json.dump(finite(document), sys.stdout, ensure_ascii=False, indent=1, allow_nan=False)
    sys.stdout.write("\n")
