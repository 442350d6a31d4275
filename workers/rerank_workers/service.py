"""Requests in, answers out: queues scoring requests, awaits their events, keeps their deadlines.

Lives on the event loop; sole writer of the requests in flight and of the counters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rerank_workers.admission import Admission, Refusal, retry_after_s
from rerank_workers.exchange import Answer, Client, Request
from rerank_workers.jobs import BatchDone, Job, JobFailed, Scored
from rerank_workers.messages import (
    BadRequest,
    bad_request,
    error_answer,
    health_answer,
    read_job,
    scored_answer,
)
from rerank_workers.tally import Tally
from rerank_workers.wire import (
    CODE_DEADLINE,
    CODE_DRAINING,
    CODE_MODEL_ERROR,
    CODE_QUEUE_FULL,
    PROBE_PATH,
    SCORE_PATH,
)

log = logging.getLogger(__name__)

HEALTH_PATH = "/health"
_METHODS = {SCORE_PATH: "POST", PROBE_PATH: "POST", HEALTH_PATH: "GET"}


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Take it back."""


class Scoring(Protocol):
    """The threads that score."""

    def submit(self, job: Job) -> None:
        """Queue a job."""

    def drop(self, job: Job) -> None:
        """Score nothing more of it."""


class Alarm(Protocol):
    """The event loop's clock."""

    def time(self) -> float:
        """Return the seconds of CLOCK_MONOTONIC."""

    def call_at(self, when: float, callback: Callable[[int], None], number: int, /) -> Timer:
        """Call back with `number` at that time."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request in flight."""

    job: Job
    client: Client
    timer: Timer | None


class Service:
    """The application behind the front, for a model that is loaded."""

    def __init__(
        self,
        scoring: Scoring,
        alarm: Alarm,
        max_queued_pairs: int,
        facts: Mapping[str, str],
        on_drained: Callable[[], None],
    ) -> None:
        self._scoring = scoring
        self._alarm = alarm
        self._facts = facts
        self._on_drained = on_drained
        self._admission = Admission(max_queued_pairs)
        self._copies = Admission(max_queued_pairs)
        """Counted apart: no request is refused, and no drain waits, because of a copy."""
        self._waiting: dict[int, _Waiting] = {}
        self._numbers: dict[Client, int] = {}
        self._next_number = 0
        self.tally = Tally()

    @property
    def in_flight(self) -> int:
        """Requests accepted and not yet answered, copies left out."""
        return self._admission.in_flight

    @property
    def queued_pairs(self) -> int:
        """Pairs of those requests."""
        return self._admission.pairs

    # --- from the front -------------------------------------------------------------------------

    def receive(self, client: Client, request: Request) -> None:
        """Answer a request at once, or queue it."""
        method = _METHODS.get(request.path)
        if method is None:
            client.answer(bad_request("nothing is served at this path", 404))
        elif request.method != method:
            client.answer(bad_request(f"this path takes {method}", 405))
        elif request.path == HEALTH_PATH:
            client.answer(health_answer(self._admission.is_draining, self._facts))
        else:
            self._queue(client, request)

    def hung_up(self, client: Client) -> None:
        """Drop the work of a client that left."""
        number = self._numbers.get(client)
        if number is not None:
            waiting = self._waiting[number]
            self._release(waiting)
            self._scoring.drop(waiting.job)
            self._report_if_drained()

    def refuse(self, status: int, message: str) -> Answer:
        """Answer what is not HTTP."""
        return bad_request(message, status)

    def _queue(self, client: Client, request: Request) -> None:
        if self._admission.is_draining:
            client.answer(_draining())
            return
        now = self._alarm.time()
        self._next_number += 1
        try:
            job = read_job(request, self._next_number, now)
        except BadRequest as error:
            client.answer(bad_request(str(error)))
            return
        if job.deadline is not None and job.deadline <= now:
            client.answer(_too_late())
            return
        if not job.docs:
            client.answer(scored_answer(Scored(job, [], [], [], [], 0.0, 0.0), now))
            return
        refusal = self._admission_of(job).admit(len(job.docs), job.max_queued_pairs)
        if refusal is not None:
            client.answer(self._refusal(refusal, job))
            return
        timer = None
        if job.deadline is not None:
            timer = self._alarm.call_at(job.deadline, self._expire, job.number)
        self._waiting[job.number] = _Waiting(job, client, timer)
        self._numbers[client] = job.number
        self._scoring.submit(job)

    def _refusal(self, refusal: Refusal, job: Job) -> Answer:
        if refusal is Refusal.TOO_MANY_DOCS:
            most = self._admission.max_queued_pairs
            most = most if job.max_queued_pairs is None else job.max_queued_pairs
            return bad_request(f"docs: at most {most} are taken")
        pairs = self._admission_of(job).pairs
        wait_s = retry_after_s(pairs, self.tally.seconds_per_pair)
        message = f"{pairs} pairs are queued"
        return error_answer(429, CODE_QUEUE_FULL, message, retry_after_s=wait_s)

    # --- from the threads and the clock ---------------------------------------------------------

    def hear(self, event: BatchDone | Scored | JobFailed) -> None:
        """Count what the threads did; answer the request it ends, if someone still waits."""
        match event:
            case BatchDone():
                self.tally.count_batch(event)
            case Scored(job):
                self.tally.count_scored(event)
                self._finish(job, lambda: scored_answer(event, self._alarm.time()))
            case JobFailed(job, message, site):
                self.tally.count_failed(event)
                fields = {"pairs": len(job.docs), "site": site}
                log.warning("model error", extra={**_names(job), **fields})
                self._finish(job, lambda: error_answer(500, CODE_MODEL_ERROR, message))

    def drain(self) -> None:
        """Take no more requests; `on_drained` is called once, when none is in flight.

        Copies are given up at once.
        """
        if not self._admission.is_draining:
            self._admission.is_draining = True
            for waiting in [each for each in self._waiting.values() if each.job.is_copy]:
                self._release(waiting).answer(_draining())
                self._scoring.drop(waiting.job)
            self._report_if_drained()

    def give_up(self) -> None:
        """Send every waiter on to another worker: this one cannot go on."""
        self._admission.is_draining = True
        for waiting in list(self._waiting.values()):
            self._release(waiting).answer(_draining())

    def _finish(self, job: Job, answer: Callable[[], Answer]) -> None:
        waiting = self._waiting.get(job.number)
        if waiting is not None:
            self._release(waiting).answer(answer())
            self._report_if_drained()

    def _expire(self, number: int) -> None:
        waiting = self._waiting[number]
        self._release(waiting).answer(_too_late())
        self._scoring.drop(waiting.job)
        self._report_if_drained()

    def _release(self, waiting: _Waiting) -> Client:
        """Forget a request in flight and return who waited for it."""
        waiting.job.is_gone = True
        del self._waiting[waiting.job.number]
        del self._numbers[waiting.client]
        if waiting.timer is not None:
            waiting.timer.cancel()
        self._admission_of(waiting.job).release(len(waiting.job.docs))
        return waiting.client

    def _admission_of(self, job: Job) -> Admission:
        return self._copies if job.is_copy else self._admission

    def _report_if_drained(self) -> None:
        if self._admission.is_drained:
            self._on_drained()


def _names(job: Job) -> dict[str, str]:
    """Return what a log line says of whose request it was: never its texts."""
    names = {"request_id": job.request_id, "trace_id": job.trace_id}
    return {key: value for key, value in names.items() if value}


def _draining() -> Answer:
    return error_answer(503, CODE_DRAINING, "this worker takes no more requests")


def _too_late() -> Answer:
    return error_answer(504, CODE_DEADLINE, "the deadline passed before the scores were ready")
