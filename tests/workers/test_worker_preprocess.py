from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_workers.preprocess import clean, sentences


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", ""),
        ("  two \t blanks  ", "two blanks"),
        ("line\r\n\r\n  break", "line\nbreak"),
        ("wide\u3000\u3000blank", "wide blank"),
        ("nul\x00l bell\x07 mark\ufeff", "null bell mark"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("e\x00\u0301", "\u00e9"),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469"),
    ],
)
def test_cleaning_composes_characters_and_joins_blanks(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean(text)

    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        ["One sentence"],
        ["One. ", "Two! ", "Three? ", "Four."],
        ["Dr. Smith paid 3.50 for it. ", "He left."],
        ["He met J. R. R. Tolkien in the U.S. Army. ", "It rained."],
        ["See e.g. the table vs. the list. ", "Done."],
        ["So am I. ", "Really."],
        ['He said "Go." ', "She went."],
        ["It ended... and went on."],
        ["Wait?! ", "No."],
        ["Title\n", "Body of it.\n\n", "Next."],
        ["visit example.com today. ", "Bye."],
        ["今天下雨。", "带伞了吗?".replace("?", "\uff1f"), "没有\uff01", "走吧"],
        ["他说:\u201c走吧。\u201d", "然后走了。"],
        ["中文。", "Then English. ", "再来中文。"],
    ],
)
def test_sentences_end_where_a_reader_ends_them(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


@given(st.text(st.sampled_from('aB1.!? \n。\uff01\u201d)"é')) | st.text())
def test_no_character_is_lost_between_sentences(text: str) -> None:
    parts = sentences(text)

    assert "".join(parts) == text
    assert all(parts)


@pytest.mark.parametrize("page", ["." * 200_000, " " * 200_000, "。" * 200_000, 'a."' * 70_000])
def test_a_page_of_marks_takes_linear_time(page: str) -> None:
    started = time.process_time()

    assert "".join(sentences(page + "x")) == page + "x"

    # Quadratic time would be minutes.
    assert time.process_time() - started < 5
