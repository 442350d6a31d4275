"""Where a long text is cut, and which pieces go together."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_workers.chunks import Span, pieces, windows

TEXTS = st.text(alphabet="ab .。！\n", max_size=60)  # noqa: RUF001  a full-width mark on purpose
TOKENS = st.lists(st.integers(0, 12), max_size=40)


@given(TEXTS, st.integers(1, 20))
def test_pieces_joined_are_the_text_and_none_is_too_long(text: str, longest: int) -> None:
    found = pieces(text, longest)

    assert "".join(text[span.start : span.end] for span in found) == text
    assert all(0 < span.end - span.start <= longest for span in found)


def test_a_text_is_cut_behind_its_sentences() -> None:
    text = "It flew. It was fast! 它飞得很快。是的。"

    assert [text[span.start : span.end] for span in pieces(text, 100)] == [
        "It flew. ",
        "It was fast! ",
        "它飞得很快。",
        "是的。",
    ]


def test_a_long_sentence_is_cut_at_a_blank_else_anywhere() -> None:
    assert pieces("aaa bbb ccc", 9) == [Span(0, 8), Span(8, 11)]
    assert pieces("aaaaaaaaaaa", 4) == [Span(0, 4), Span(4, 8), Span(8, 11)]


@pytest.mark.parametrize(
    ("text", "halves"),
    [
        ("aaa bbb", [Span(0, 3), Span(3, 7)]),
        ("aaaa bbbbb", [Span(0, 5), Span(5, 10)]),
        ("ab", [Span(0, 1), Span(1, 2)]),
        ("a", [Span(0, 1)]),
        ("", [Span(0, 0)]),
    ],
)
def test_a_span_is_halved_near_its_middle(text: str, halves: list[Span]) -> None:
    assert list(Span(0, len(text)).halves(text)) == halves


def test_the_text_of_a_span_has_no_blanks_at_its_ends() -> None:
    assert Span(1, 6).of("a b c  d") == "b c"


@given(TOKENS, st.integers(1, 20), st.integers(0, 10))
def test_windows_hold_every_piece_in_order_within_room_and_overlap(
    tokens: list[int], room: int, overlap: int
) -> None:
    found = windows(tokens, room, overlap)

    assert {piece for window in found for piece in window} == set(range(len(tokens)))
    for window in found:
        assert sum(tokens[i] for i in window) <= room or len(window) == 1
    for before, after in pairwise(found):
        assert before.start < after.start <= before.stop < after.stop
        assert sum(tokens[after.start : before.stop]) <= overlap


def test_windows_are_as_full_as_can_be_and_begin_with_the_last_pieces_of_the_one_before() -> None:
    assert windows([3, 3, 3, 3, 3], 7, 0) == [range(0, 2), range(2, 4), range(4, 5)]
    assert windows([3, 3, 3, 3, 3], 9, 3) == [range(0, 3), range(2, 5)]
    assert windows([3, 3, 9, 3], 9, 3) == [range(0, 2), range(2, 3), range(3, 4)]
    assert windows([5, 50, 5], 9, 9) == [range(0, 1), range(1, 2), range(2, 3)]
    assert windows([], 9, 3) == []
