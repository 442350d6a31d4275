from __future__ import annotations

from collections.abc import Sequence

import pytest

from rerank_server.cli.asking import Answer
from rerank_server.cli.evaluate.patience import LONGEST_S, TRIES, Patient, Waited

GOOD = Answer("v1", (0.5,), (1,), 5.0, 4.0)


def busy(seconds: float = 2.0) -> Answer:
    return Answer("v1", error="the queue is full (HTTP 429)", retry_after_s=seconds)


class Version:
    """Gives these answers, then good ones, and notes how long it was waited for in between."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.events: list[float | str] = []

    def ask(self, version: str, query: str, docs: Sequence[str]) -> Answer:
        self.events.append("asked")
        return self._answers.pop(0) if self._answers else GOOD

    def wait(self, answer: Answer, seconds: float) -> None:
        self.events.append(seconds)


def put(version: Version, times: int = 1) -> tuple[list[Answer], Patient]:
    patient = Patient(version.ask, version.wait)
    return [patient("v1", "q", ["a"]) for _ in range(times)], patient


def test_a_version_that_says_when_to_come_again_is_asked_again_then() -> None:
    version = Version(busy(2.0), busy(3.0))

    [answer], patient = put(version)

    assert answer == GOOD
    assert version.events == ["asked", 2.0, "asked", 3.0, "asked"]
    assert patient.waited == {"v1": Waited(2, 5.0)}


@pytest.mark.parametrize("answer", [GOOD, Answer("v1", error="the model failed (HTTP 500)")])
def test_any_other_answer_is_taken_as_it_is(answer: Answer) -> None:
    version = Version(answer)

    assert put(version)[0] == [answer]
    assert version.events == ["asked"]


def test_a_question_is_put_a_few_times_and_the_next_one_is_not_waited_for() -> None:
    version = Version(*[busy()] * (TRIES + 1))

    answers, patient = put(version, times=2)

    assert answers == [busy(), busy()]
    assert version.events == [*["asked", 2.0] * (TRIES - 1), "asked", "asked"]
    assert patient.waited == {"v1": Waited(TRIES - 1, 2.0 * (TRIES - 1))}


def test_a_version_that_answers_again_is_waited_for_again() -> None:
    version = Version(*[busy()] * TRIES, GOOD, busy())

    answers, _ = put(version, times=3)

    assert answers == [busy(), GOOD, GOOD]
    assert version.events[-3:] == ["asked", 2.0, "asked"]


def test_what_asks_for_too_long_a_wait_is_not_waited_for() -> None:
    version = Version(busy(LONGEST_S + 1))

    assert put(version)[0] == [busy(LONGEST_S + 1)]
    assert version.events == ["asked"]
