from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.cli.table import cut, pad, table, width


@pytest.mark.parametrize(
    ("text", "columns"), [("", 0), ("abc", 3), ("重排", 4), ("é", 1), ("e\u0301", 1), ("a\x07b", 2)]
)
def test_width_is_what_a_terminal_takes(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("two  words\nlines", 20, "two words lines"),
        ("two words", 5, "two…"),
        ("重排序", 4, "重…"),
        ("重排序", 5, "重排…"),
    ],
)
def test_a_cut_text_is_one_line_that_fits(text: str, columns: int, expected: str) -> None:
    assert cut(text, columns) == expected


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_no_text_is_wider_than_it_is_cut_to(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns


def test_columns_line_up_by_their_looks() -> None:
    assert table([["a", "bb"], ["重排", "1"]]) == ["a     bb", "重排   1"]
    assert pad("重", 4) + "|" == "重  |"
    assert pad("重", 4, right=True) == "  重"
