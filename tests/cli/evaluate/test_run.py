from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from rerank_server.cli.asking import Answer, UnreachableError
from rerank_server.cli.evaluate.questions import Question
from rerank_server.cli.evaluate.run import measure, presented, turn

QUESTIONS = [Question(line, f"q{line}", tuple("abcdefgh")) for line in (1, 2, 3)]


class Versions:
    """Answers every version: the later in the alphabet a document begins, the better."""

    def __init__(self, on: Callable[[int, str], None] = lambda number, version: None) -> None:
        self.seen: list[tuple[str, str, tuple[str, ...]]] = []
        self.told: list[int] = []
        self._on = on

    def ask(self, version: str, query: str, docs: Sequence[str]) -> Answer:
        self.seen.append((version, query, tuple(docs)))
        self._on(len(self.seen), version)
        order = sorted(docs, reverse=True)
        scores = tuple(ord(doc[0]) / 256 for doc in docs)
        return Answer(version, scores, tuple(order.index(doc) + 1 for doc in docs), 5.0, 4.0)


def test_versions_take_turns_and_each_goes_first_in_its_turn() -> None:
    assert [turn("abc", number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]

    versions = Versions()
    measure(QUESTIONS, ["a", "b"], versions.ask, versions.told.append)

    asked = [(query, version) for version, query, _ in versions.seen]
    assert asked[:2] == [("q1", "a"), ("q1", "b")], "once each to warm up"
    assert asked[2:] == [
        *(("q1", "a"), ("q1", "b")),
        *(("q2", "b"), ("q2", "a")),
        *(("q3", "a"), ("q3", "b")),
    ]
    assert versions.told == [1, 2, 3, 4, 5, 6]


def test_documents_are_sent_in_one_random_order_and_answered_for_in_that_of_the_file() -> None:
    versions = Versions()

    run = measure(QUESTIONS[:1], ["a", "b"], versions.ask, versions.told.append)

    orders = {docs for _, _, docs in versions.seen}
    assert len(orders) == 1
    assert orders != {QUESTIONS[0].docs}
    assert presented(QUESTIONS[0]) == presented(QUESTIONS[0]) != presented(QUESTIONS[1])
    [asked] = run.asked
    assert asked.answers["a"].ranks == (8, 7, 6, 5, 4, 3, 2, 1)
    assert asked.answers["b"].scores == tuple(ord(doc) / 256 for doc in "abcdefgh")
    assert (run.stopped, run.is_interrupted) == (None, False)


def test_an_interruption_keeps_what_was_measured() -> None:
    def interrupt(number: int, version: str) -> None:
        if number == 6:
            raise KeyboardInterrupt

    versions = Versions(interrupt)

    run = measure(QUESTIONS, ["a", "b"], versions.ask, versions.told.append)

    assert [tuple(asked.answers) for asked in run.asked] == [("a", "b"), ("b",)]
    assert (run.stopped, run.is_interrupted) == ("interrupted", True)


def test_a_version_that_cannot_answer_is_asked_on_and_its_reason_kept() -> None:
    def answer(version: str, query: str, docs: Sequence[str]) -> Answer:
        good = Versions().ask(version, query, docs)
        return Answer(version, error="no") if (version, query) == ("a", "q2") else good

    run = measure(QUESTIONS, ["a", "b"], answer, lambda done: None)

    assert [asked.answers["a"].error for asked in run.asked] == [None, "no", None]
    assert run.stopped is None


@pytest.mark.parametrize(("gone_for", "stopped"), [(4, False), (5, True)])
def test_a_server_that_has_gone_for_long_is_asked_no_more(gone_for: int, *, stopped: bool) -> None:
    def vanish(number: int, version: str) -> None:
        if 3 <= number < 3 + gone_for:
            raise UnreachableError("http://x: refused")

    versions = Versions(vanish)

    run = measure(QUESTIONS, ["a", "b"], versions.ask, versions.told.append)

    errors = [answer.error for asked in run.asked for answer in asked.answers.values()]
    assert errors[:gone_for] == ["no answer: http://x: refused"] * gone_for
    assert (run.stopped is not None) == stopped
    assert len(errors) == (gone_for if stopped else 6)


def test_a_warm_up_that_reaches_nothing_is_not_the_end() -> None:
    def vanish(number: int, version: str) -> None:
        if number <= 2:
            raise UnreachableError("refused")

    versions = Versions(vanish)

    run = measure(QUESTIONS, ["a", "b"], versions.ask, versions.told.append)

    assert all(a.error is None for asked in run.asked for a in asked.answers.values())
