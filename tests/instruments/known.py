"""The series that docs/metrics.md lists."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conftest import ROOT

_ROW = re.compile(r"\| `(?P<name>\w+)` \| (?P<kind>\w+) \|(?P<labels>[\w, ]*)\| \S.* \|")


@dataclass(frozen=True, slots=True)
class Told:
    """One row: a family as its series are named."""

    kind: str
    labels: frozenset[str]


def told() -> dict[str, Told]:
    """Return what each row tells."""
    rows = _ROW.finditer((ROOT / "docs" / "metrics.md").read_text())
    return {
        row["name"]: Told(row["kind"], frozenset(filter(None, row["labels"].strip().split(", "))))
        for row in rows
    }


def used_in(expression: str) -> set[str]:
    """Return the series a query asks for, by the names docs/metrics.md has."""
    names = set(re.findall(r"\breranker_\w+", expression))
    return {re.sub(r"_(bucket|sum|count)$", "", n) if n not in told() else n for n in names}
