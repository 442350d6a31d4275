"""What the plots share: scales, ticks, axes, texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rerank_server.cli.evaluate.markup import Html, element

Scale = Callable[[float], float]
"""From a value to a place in the picture."""

_FEWEST_TICKS = 3


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Return the scale that takes low..high to start..end."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Return the same by the values' logarithms; all are above 0."""
    inner = linear(math.log(low), math.log(high), start, end)
    return lambda value: inner(math.log(value))


def round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, ... (or 0.1, 0.2, ...) that is not less."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def decades(low: float, high: float) -> list[float]:
    """Return round values within low..high for a logarithmic axis: few, but at least three."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[float] = []
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), tuple(n / 10 for n in range(10, 100))):
        values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        found = [value for value in values if low <= value <= high]
        if len(found) >= _FEWEST_TICKS:
            break
    return found


def picture(width: float, height: float, label: str, *children: Html) -> Html:
    """Return a drawing with a name for those who cannot see it."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        role="img",
        aria_label=label,
    )


def text(x: float, y: float, words: str, anchor: str = "start", class_: str | None = None) -> Html:
    """Return a text whose start, middle or end is at x."""
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    """Return a line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def bottom_axis(
    ticks: Sequence[tuple[float, str]], scale: Scale, top: float, bottom: float
) -> list[Html]:
    """Return grid lines from top to bottom, with their values below."""
    return [
        mark
        for value, words in ticks
        for mark in (
            line(scale(value), top, scale(value), bottom, "grid"),
            text(scale(value), bottom + 16, words, "middle", "tick"),
        )
    ]


def bars(
    counts: Sequence[float],
    edges: Sequence[float],
    y: Scale,
    class_: str,
    titles: Sequence[str],
) -> list[Html]:
    """Return a histogram's bars; `edges` are the places between them, one more than bars."""
    return [
        element(
            "rect",
            element("title", title),
            x=left + 0.5,
            y=y(count),
            width=max(0.5, right - left - 1),
            height=max(0.0, y(0) - y(count)),
            class_=class_,
        )
        for count, left, right, title in zip(counts, edges, edges[1:], titles, strict=False)
        if count > 0
    ]


def shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    """Return which share of the values lies in each bin; those beyond count for the ends."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        place = next((i for i, edge in enumerate(edges[1:]) if value < edge), len(counts) - 1)
        counts[place] += 1
    return [count / len(values) for count in counts] if values else [0.0] * len(counts)
