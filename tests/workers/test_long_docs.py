"""Long documents as several windows, for a scorer whose tokens are words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_workers.chunks import Span
from rerank_workers.jobs import Job, Scored
from rerank_workers.long_docs import AT_ONCE, Cut, Won, cut
from rerank_workers.messages import scored_answer
from rerank_workers.scorer import Item


@dataclass(frozen=True)
class Words:
    tokens: int
    truncated: bool
    text: str


@dataclass
class WordEncoder:
    """Reads `room` words of a document beside the query and one token of its own."""

    room: int = 20
    per_word: int = 1
    calls: list[list[str]] = field(default_factory=list)

    def __call__(self, query: str, docs: Sequence[str]) -> list[Item]:
        self.calls.append(list(docs))
        fixed = len(query.split()) + 1
        return [self._item(doc, fixed) for doc in docs]

    def _item(self, doc: str, fixed: int) -> Words:
        # A quarter of a long word is a token, as with subwords.
        count = sum(self.per_word * max(1, len(word) // 4) for word in doc.split())
        return Words(fixed + min(count, self.room), count > self.room, doc)


def texts(found: Cut) -> list[str]:
    return [item.text for item in found.items if isinstance(item, Words)]


def sentence(number: int) -> str:
    return f"This is one number {number}. "


def test_what_fits_is_encoded_once_and_left_as_it_is() -> None:
    encode = WordEncoder()

    found = cut(encode, "jet", [" a b ", "c"])

    assert encode.calls == [[" a b ", "c"]]
    assert found.spans == ((Span(0, 5),), (Span(0, 1),))
    assert found.best([1.0, 2.0]) == (
        [1.0, 2.0],
        [Won(Span(0, 5), 0, 1), Won(Span(0, 1), 0, 1)],
    )


def test_a_long_document_becomes_windows_of_whole_sentences() -> None:
    doc = "".join(sentence(number) for number in range(9))

    found = cut(WordEncoder(), "jet", ["short", doc])

    assert texts(found)[0] == "short"
    assert len(found.spans[1]) == 3
    for span, text in zip(found.spans[1], texts(found)[1:], strict=True):
        assert text == span.of(doc)
        assert text.startswith("This is")
        assert text.endswith(".")
    assert found.truncated() == []
    assert found.tokens() == [3, sum(item.tokens for item in found.items[1:])]


def test_neighbouring_windows_overlap_by_whole_sentences() -> None:
    doc = "".join(f"Ab {number}. " for number in range(30))

    found = cut(WordEncoder(), "jet", [doc])

    spans = found.spans[0]
    assert all(after.start < before.end for before, after in pairwise(spans))
    assert (spans[0].start, spans[-1].end) == (0, len(doc))


def test_the_best_window_gives_the_score_and_is_named() -> None:
    doc = "".join(sentence(number) for number in range(9))
    found = cut(WordEncoder(), "jet", [doc, "short"])

    scores, won = found.best([0.5, 3.0, 3.0, -1.0])

    assert scores == [3.0, -1.0]
    assert won == [Won(found.spans[0][1], 1, 3), Won(Span(0, 5), 0, 1)]


def test_a_text_without_any_border_is_cut_all_the_same() -> None:
    doc = "x" * 4000

    found = cut(WordEncoder(), "jet", [doc])

    assert found.truncated() == []
    assert (
        "".join(span.of(doc) for span in found.spans[0] if span.start % 1 == 0).count("x") >= 4000
    )


def test_pieces_of_more_tokens_than_letters_are_cut_until_they_fit() -> None:
    doc = "a b c d e f g h i j k l m n o p q r s t u v w x y z"

    found = cut(WordEncoder(per_word=8), "jet", [doc])

    assert found.truncated() == []
    assert all(item.tokens <= 22 for item in found.items)


def test_a_single_letter_that_never_fits_stays_cut() -> None:
    found = cut(WordEncoder(per_word=30), "jet", ["a b"])

    assert found.truncated() == [0]
    assert [text for text in texts(found) if text] == ["a", "b"]


def test_a_query_that_leaves_no_room_cuts_nothing() -> None:
    found = cut(WordEncoder(room=15), "jet", ["a " * 40])

    assert found.spans == ((Span(0, 80),),)
    assert found.truncated() == [0]


def test_a_long_book_is_measured_in_parts_and_costs_what_it_has() -> None:
    encode = WordEncoder(room=100)
    doc = "".join(sentence(number) for number in range(5000))

    found = cut(encode, "jet", [doc])

    assert max(len(call) for call in encode.calls) <= AT_ONCE
    words = len(doc.split())
    assert words <= found.tokens()[0] <= words * 1.2
    assert found.truncated() == []


@dataclass
class Joined(WordEncoder):
    """A scorer for which neighbouring sentences take a token more than apart."""

    def _item(self, doc: str, fixed: int) -> Words:
        item = super()._item(doc, fixed)
        more = doc.count(". ")
        return Words(
            min(item.tokens + more, fixed + self.room),
            item.truncated or (item.tokens + more > fixed + self.room),
            doc,
        )


def test_windows_that_turn_out_too_long_are_cut_again() -> None:
    doc = "".join(f"Ab {number}. " for number in range(40))

    found = cut(Joined(), "jet", ["short", doc])

    assert found.truncated() == []
    assert found.spans[1][0].start == 0
    assert found.spans[1][-1].end == len(doc)


@given(st.lists(st.text(alphabet="ab .。\n", max_size=120), max_size=4))
def test_windows_cover_every_document(docs: list[str]) -> None:
    found = cut(WordEncoder(), "jet", docs)

    assert len(found.items) == sum(len(spans) for spans in found.spans)
    for doc, spans in zip(docs, found.spans, strict=True):
        covered = {place for span in spans for place in range(span.start, span.end)}
        assert covered == set(range(len(doc)))


@pytest.mark.parametrize("docs", [[], [""]])
def test_nothing_to_cut_is_no_fault(docs: list[str]) -> None:
    assert cut(WordEncoder(), "jet", docs).truncated() == []


@pytest.mark.parametrize(
    ("won", "expected"),
    [
        (None, {}),
        ([Won(Span(10, 30), 1, 3)], {"windows": [[10, 30, 1, 3]]}),
    ],
)
def test_the_answer_names_windows_only_where_documents_are_cut_into_them(
    won: list[Won] | None, expected: dict[str, object]
) -> None:
    scored = Scored(Job(1, "jet", ["doc"], 0.0), [1.0], [0.7], [20], [], 0.0, 0.0, won)

    body = json.loads(scored_answer(scored, 1.0).body)

    assert {key: value for key, value in body.items() if key == "windows"} == expected
