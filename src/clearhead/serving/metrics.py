"""What a server counts, as Prometheus reads it (text format 0.0.4)."""

from collections import Counter
from collections.abc import Callable

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds."""
OUTCOMES = ("finished", "rejected", "cancelled", "expired", "failed")
"""How a request can end: answered, no room (503), the client left, too late, an error of ours."""


class Histogram:
    """How often a duration fell below each bound."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        at = next((i for i, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self.counts[at] += 1
        self.total += seconds

    def lines(self, name: str) -> list[str]:
        """Cumulative counts, sum and count."""
        lines, below = [], 0
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], self.counts, strict=True):
            below += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {below}')
        return [*lines, f"{name}_sum {self.total:.6f}", f"{name}_count {below}"]


class Metrics:
    """Counts that only grow, and gauges that are asked for when they are read."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.prompt_tokens = self.written_tokens = self.scored_tokens = 0
        self.first_token = Histogram()
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def text(self) -> str:
        """Everything, in Prometheus's text format."""
        lines = []
        for name, (about, value) in self.gauges.items():
            lines += [f"# HELP clearhead_{name} {about}", f"# TYPE clearhead_{name} gauge"]
            lines.append(f"clearhead_{name} {value()}")
        lines += [
            "# HELP clearhead_requests_total Requests, by how they ended.",
            "# TYPE clearhead_requests_total counter",
        ]
        lines += [f'clearhead_requests_total{{outcome="{name}"}} {count}' for name, count in self.requests.items()]
        lines += [
            "# HELP clearhead_tokens_total Tokens, by what was done with them.",
            "# TYPE clearhead_tokens_total counter",
        ]
        for kind in ("prompt", "written", "scored"):
            lines.append(f'clearhead_tokens_total{{kind="{kind}"}} {getattr(self, f"{kind}_tokens")}')
        name = "clearhead_time_to_first_token_seconds"
        lines += [f"# HELP {name} From a request's arrival to its first token.", f"# TYPE {name} histogram"]
        return "\n".join([*lines, *self.first_token.lines(name), ""])
