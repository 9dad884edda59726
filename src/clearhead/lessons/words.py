"""Numbers as the sentences of a verdict say them."""


def tiny(value: float) -> str:
    """An error or a difference that should be nothing.

    >>> tiny(0.0), tiny(3.2e-9)
    ('0', '3e-09')
    """
    return f"{value:.0e}" if value else "0"


def times(more: float, less: float) -> str:
    """How many times as much.

    >>> times(4.2, 0.2), times(3.3, 3.0), times(1.0, 0.0)
    ('21', '1.1', 'infinitely many')
    """
    if not less:
        return "infinitely many"
    ratio = more / less
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"
