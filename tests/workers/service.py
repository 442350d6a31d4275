"""The worker's service with everything around it faked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from rerank_workers.exchange import Answer, Request
from rerank_workers.jobs import BatchDone, Job, Scored
from rerank_workers.service import Service


@dataclass
class Threads:
    """What the service asked of the scoring threads."""

    submitted: list[Job] = field(default_factory=list)
    dropped: list[Job] = field(default_factory=list)

    def submit(self, job: Job) -> None:
        self.submitted.append(job)

    def drop(self, job: Job) -> None:
        self.dropped.append(job)


@dataclass(eq=False)
class Call:
    """A call at a time to come."""

    when: float
    callback: Callable[[int], object]
    number: int
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass
class Clock:
    """Virtual time; `advance` makes the calls that are due."""

    now: float = 100.0
    calls: list[Call] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[int], object], number: int, /) -> Call:
        self.calls.append(Call(when, callback, number))
        return self.calls[-1]

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for call in [c for c in self.calls if c.when <= self.now and not c.is_cancelled]:
            self.calls.remove(call)
            call.callback(call.number)


@dataclass(eq=False)
class Caller:
    """A client, and what it was answered."""

    answers: list[Answer] = field(default_factory=list)

    def answer(self, answer: Answer) -> None:
        self.answers.append(answer)

    @property
    def status(self) -> int | None:
        return self.answers[0].status if self.answers else None

    @property
    def body(self) -> dict[str, object]:
        (answer,) = self.answers
        body = json.loads(answer.body)
        assert isinstance(body, dict)
        return body


@dataclass
class Room:
    """A service with everything around it faked."""

    threads: Threads = field(default_factory=Threads)
    clock: Clock = field(default_factory=Clock)
    drained: list[bool] = field(default_factory=list)
    max_queued_pairs: int = 10

    def __post_init__(self) -> None:
        self.service = Service(
            self.threads,
            self.clock,
            self.max_queued_pairs,
            {"family": "fake"},
            lambda: self.drained.append(True),
        )

    def ask(self, docs: int = 1, path: str = "/score", **headers: str) -> Caller:
        body = json.dumps({"query": "q", "docs": ["d"] * docs}).encode()
        return self.send(body, path, **headers)

    def send(
        self, body: bytes = b"", path: str = "/score", method: str = "POST", **headers: str
    ) -> Caller:
        caller = Caller()
        names = {f"x-rerank-{k.replace('_', '-')}".encode(): v.encode() for k, v in headers.items()}
        self.service.receive(caller, Request(method, path, names, body))
        return caller

    def score(self, index: int = 0) -> None:
        """Have a request scored."""
        job = self.threads.submitted[index]
        count = len(job.docs)
        self.service.hear(BatchDone(count, count * 5, 0.5))
        self.service.hear(Scored(job, [1.5] * count, [0.8] * count, [5] * count, [0], 0.25, 0.5))
