"""What was measured against what it must reach: a row of the table, and a bar of the plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and its bound."""

    what: str
    value: float
    bound: float
    at_most: bool = False
    """Whether the bound is the most it may be, not the least."""
    unit: str = "x"

    @property
    def is_reached(self) -> bool:
        """Whether the bound holds."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def table(figures: Sequence[Figure]) -> str:
    """Return figures and bounds as a Markdown table."""
    lines = ["| what | figure | bound | |", "|---|---|---|---|"]
    for figure in figures:
        sign = "at most" if figure.at_most else "at least"
        verdict = "" if figure.is_reached else "**missed**"
        lines.append(
            f"| {figure.what} | {_number(figure.value, figure.unit)} "
            f"| {sign} {_number(figure.bound, figure.unit)} | {verdict} |"
        )
    return "\n".join(lines)


def remember(part: str, figures: Sequence[Figure], path: Path) -> None:
    """Put a part's figures in the place of those of its last run."""
    found = json.loads(path.read_text()) if path.exists() else {}
    found[part] = [asdict(figure) for figure in figures]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def recall(path: Path) -> list[Figure]:
    """Read the figures of every part that was run."""
    parts = json.loads(path.read_text())
    return [Figure(**figure) for part in parts.values() for figure in part]


def _number(value: float, unit: str) -> str:
    return f"{value:.2f}" if unit == "x" else f"{value:.0f} {unit}"
