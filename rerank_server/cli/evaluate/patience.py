"""Asks again what a version was too busy for, or away: when it says, and a few times at most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rerank_server.cli.asking import Answer
from rerank_server.cli.evaluate.run import Ask

TRIES = 5
"""How often a question is put to a version at most."""
LONGEST_S = 60.0
"""A version that asks for more is not waited for."""

Wait = Callable[[Answer, float], None]
"""Waits so many seconds because of an answer."""


@dataclass(frozen=True, slots=True)
class Waited:
    """What was waited for one version."""

    times: int = 0
    total_s: float = 0.0

    def again(self, seconds: float) -> Waited:
        """Return what it is with one wait more."""
        return Waited(self.times + 1, self.total_s + seconds)

    def text(self, version: str) -> str:
        """Return it as a sentence, for who reads the report."""
        waits = "1 wait" if self.times == 1 else f"{self.times} waits"
        return f"{version} could not always answer at once: {waits}, {self.total_s:g} s in all"


class Patient:
    """Asks as `ask` does, but waits where the answer is to come again later.

    A version that was asked in vain as often as may be is not waited for any more, until it
    answers: one that is away for good would else have every question wait for it.
    """

    def __init__(self, ask: Ask, wait: Wait) -> None:
        self._ask = ask
        self._wait = wait
        self._waited: dict[str, Waited] = {}
        self._given_up: set[str] = set()

    @property
    def waited(self) -> Mapping[str, Waited]:
        """What was waited for each version, where anything was."""
        return self._waited

    def __call__(self, version: str, query: str, docs: Sequence[str]) -> Answer:
        """Ask; raise what `ask` raises."""
        answer = self._ask(version, query, docs)
        tries = 1
        while (seconds := answer.retry_after_s) is not None:
            if version in self._given_up or tries == TRIES or seconds > LONGEST_S:
                self._given_up.add(version)
                return answer
            self._waited[version] = self._waited.get(version, Waited()).again(seconds)
            self._wait(answer, seconds)
            answer = self._ask(version, query, docs)
            tries += 1
        self._given_up.discard(version)
        return answer
