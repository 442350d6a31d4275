"""`make clean` takes away what make and the tests leave, and nothing of the user's."""

from __future__ import annotations

import subprocess

from tests.contract.source_tree import ROOT

KEPT = {".run/", "models/*", "!models/README.md"}
"""A server may run in the first; the second has weights that may be the user's own."""


def test_make_clean_removes_whatever_git_ignores_but_models() -> None:
    ignored = {line for line in (ROOT / ".gitignore").read_text().splitlines() if line} - KEPT

    said = subprocess.run(
        ["make", "-n", "clean"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
    )

    words = {word.strip("'").rstrip("/") for word in said.stdout.split()}
    assert {each.rstrip("/") for each in ignored} <= words
    assert not [word for word in words if word.startswith(("models", ".run"))]
