"""Asks every version every question, in turns, and keeps whatever was measured however it ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from rerank_server.cli.asking import Answer, UnreachableError
from rerank_server.cli.evaluate.questions import Question

Ask = Callable[[str, str, Sequence[str]], Answer]
"""Asks a version, by its name, a query and documents."""

_GIVE_UP_AFTER = 5
"""So many requests in a row that reached nothing: the server has gone."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, and each version's answer to it; those never asked are not there."""

    question: Question
    answers: Mapping[str, Answer]


@dataclass(slots=True)
class Run:
    """What was measured so far."""

    versions: tuple[str, ...]
    total: int
    """How many questions there are to ask."""
    asked: list[Asked] = field(default_factory=list)
    stopped: str | None = None
    """Why it ended before the last question, if it did."""
    is_interrupted: bool = False
    waits: Sequence[str] = ()
    """What was waited for, in sentences."""


def measure(
    questions: Sequence[Question],
    versions: Sequence[str],
    ask: Ask,
    told: Callable[[int], None],
) -> Run:
    """Ask one version after the other, so that none slows another down.

    Who goes first changes with each question. `told` hears how many requests have been answered.
    Ends early on Ctrl-C or when nothing listens any more, and says so in what it returns.
    """
    run = Run(tuple(versions), len(questions))
    unreached = 0
    try:
        _warm_up(questions[0], versions, ask)
        for number, question in enumerate(questions):
            answers: dict[str, Answer] = {}
            # In the list before it is complete: an interruption keeps what there is.
            run.asked.append(Asked(question, answers))
            for version in turn(versions, number):
                try:
                    answers[version] = _asked(question, version, ask)
                    unreached = 0
                except UnreachableError as error:
                    answers[version] = Answer(version, error=f"no answer: {error.message}")
                    unreached += 1
                told(number * len(versions) + len(answers))
                if unreached >= _GIVE_UP_AFTER:
                    run.stopped = "the server could not be reached any more"
                    return run
    except KeyboardInterrupt:
        run.stopped = "interrupted"
        run.is_interrupted = True
    return run


def turn(versions: Sequence[str], number: int) -> list[str]:
    """Return the order in which a question's versions are asked: each goes first in its turn."""
    first = number % len(versions)
    return [*versions[first:], *versions[:first]]


def presented(question: Question) -> list[int]:
    """Return the order in which a question's documents are sent, the same for every version.

    Not the file's: a version that gives all documents one score would be praised for whatever
    order the file has.
    """
    order = list(range(len(question.docs)))
    random.Random(question.line).shuffle(order)
    return order


def _asked(question: Question, version: str, ask: Ask) -> Answer:
    """Raise UnreachableError when nothing answered."""
    order = presented(question)
    answer = ask(version, question.query, [question.docs[index] for index in order])
    if answer.error is not None:
        return answer
    sent_at = {index: place for place, index in enumerate(order)}
    there = [sent_at[index] for index in range(len(order))]
    return replace(
        answer,
        scores=tuple(answer.scores[place] for place in there),
        ranks=tuple(answer.ranks[place] for place in there),
    )


def _warm_up(question: Question, versions: Sequence[str], ask: Ask) -> None:
    """Ask once without counting: connections open, memory is touched, clocks go up."""
    for version in versions:
        with suppress(UnreachableError):
            _asked(question, version, ask)
