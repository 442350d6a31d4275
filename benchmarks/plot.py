"""Draws the figures against their bounds as bars: `python -m benchmarks.plot RESULTS SVG`.

Every bar is a figure over its bound, or the bound over the figure where that is the most it may be:
1 is the bound, longer is better.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.figures import Figure, recall

_WIDTH, _ROW, _LABELS, _TOP = 980, 22, 500, 46
_OCTAVES = 2.0
"""To either side of the bound that are drawn; a longer bar ends there, and says so."""
_REACHED, _MISSED, _INK, _FAINT = "#2a7f62", "#c4452d", "#222", "#999"


def margin(figure: Figure) -> float:
    """Return how many times better than its bound a figure is; below 1 it misses it."""
    return figure.bound / figure.value if figure.at_most else figure.value / figure.bound


def draw(figures: Sequence[Figure]) -> str:
    """Return the SVG."""
    height = _TOP + _ROW * len(figures) + 14
    zero = _LABELS + (_WIDTH - _LABELS - 70) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{zero}" y="18" text-anchor="middle" fill="{_INK}">'
        "times better than the bound</text>",
    ]
    for octave in (-2, -1, 0, 1, 2):
        x = _place(2.0**octave)
        label = f"{2.0**octave:g}"
        colour = _INK if octave == 0 else "#ddd"
        parts.append(f'<text x="{x}" y="36" text-anchor="middle" fill="{_FAINT}">{label}</text>')
        parts.append(f'<line x1="{x}" y1="40" x2="{x}" y2="{height - 10}" stroke="{colour}"/>')
    for number, figure in enumerate(figures):
        parts += _bar(figure, _TOP + _ROW * number)
    return "\n".join([*parts, "</svg>", ""])


def _bar(figure: Figure, y: float) -> list[str]:
    end, start = _place(margin(figure)), _place(1.0)
    left, length = min(start, end), abs(end - start)
    number = f"{figure.value:.2f}" if figure.unit == "x" else f"{figure.value:.0f} {figure.unit}"
    colour = _REACHED if figure.is_reached else _MISSED
    after = max(start, end) + 4
    return [
        f'<text x="{_LABELS - 8}" y="{y + 14}" text-anchor="end" fill="{_INK}">'
        f"{escape(figure.what)}</text>",
        f'<rect x="{left:.1f}" y="{y + 4}" width="{max(1.0, length):.1f}" height="{_ROW - 8}" '
        f'fill="{colour}"/>',
        f'<text x="{after:.1f}" y="{y + 14}" fill="{_INK}">{number}</text>',
    ]


def _place(times: float) -> float:
    """Return where a margin lies across, on a logarithmic scale."""
    octaves = max(-_OCTAVES, min(_OCTAVES, math.log2(times)))
    half = (_WIDTH - _LABELS - 70) / 2
    return _LABELS + half + octaves / _OCTAVES * half


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(draw(recall(source)), encoding="utf-8")
