from __future__ import annotations

import re
from pathlib import Path

import pytest

from rerank_server.catalog.version_code import fault


@pytest.mark.parametrize(
    "code",
    [
        "def rerank(query, docs): ...",
        "def rerank(query: str, docs: list[str], top=3) -> list[float]: ...",
        "def rerank(*args, **kw): ...",
        "def rerank(q, d, *, batch=1): ...",
        "from mine import rerank",
        "from mine import score as rerank",
        "rerank = lambda q, d: []",
        "rerank: object = print",
        "try:\n    import torch\nexcept ImportError:\n    pass\nif 1:\n    def rerank(q, d): ...",
        "x = '\\d'\ndef rerank(q, d): ...",
    ],
)
def test_what_defines_rerank_is_accepted_without_running_it(tmp_path: Path, code: str) -> None:
    (tmp_path / "rerank.py").write_text(f"raise_on_run = 1 / 0\n{code}\n")

    assert fault(tmp_path / "rerank.py") is None


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("", "does not define rerank"),
        ("def score(q, d): ...", "does not define rerank"),
        ("class X:\n    def rerank(self, q, d): ...", "does not define rerank"),
        ("rerank: object", "does not define rerank"),
        ("def rerank(q): ...", r"rerank.py:1: rerank must take \(query, docs\)"),
        ("\ndef rerank(q, d, more): ...", r"rerank.py:2: rerank must take"),
        ("def rerank(q, d, *, more): ...", "must take"),
        ("async def rerank(q, d): ...", "must not be async"),
        ("def rerank(:", "rerank.py:1: "),
        ("x = 1\n  y = 2", "rerank.py:2: unexpected indent"),
        ("\0", "rerank.py"),
    ],
)
def test_what_does_not_is_said_with_its_line(tmp_path: Path, code: str, problem: str) -> None:
    (tmp_path / "rerank.py").write_text(code)

    assert re.search(problem, fault(tmp_path / "rerank.py") or "nothing")


def test_bytes_that_are_no_text_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "rerank.py").write_bytes(b"\xff\xfe def")

    assert fault(tmp_path / "rerank.py") is not None


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    assert fault(tmp_path / "rerank.py") == "no rerank.py"
