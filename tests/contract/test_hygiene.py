from __future__ import annotations

import ast
import subprocess

from tests.conftest import lack
from tests.contract.source_tree import KNOWN, ROOT

LONGEST_FILE = 300
LONGEST_FUNCTION = 50


def tracked(*options: str) -> list[str]:
    """Return what `git ls-files` lists; skip outside a checkout."""
    if not (ROOT / ".git").exists():
        lack("not a git checkout")
    done = subprocess.run(
        ["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")[:-1]


def test_the_tree_has_no_symbolic_links() -> None:
    links = [entry.partition("\t")[2] for entry in tracked("--stage") if entry.startswith("120000")]

    assert not links, "\n".join(links)


def test_files_stay_under_300_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {length} lines"
        for path in KNOWN.values()
        if (length := len(path.read_text(encoding="utf-8").splitlines())) >= LONGEST_FILE
    ]

    assert not long, "\n".join(long)


def test_functions_stay_under_50_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}: {length} lines"
        for path in KNOWN.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) >= LONGEST_FUNCTION
    ]

    assert not long, "\n".join(long)
