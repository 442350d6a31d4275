from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from rerank_workers.exchange import Answer, Request
from rerank_workers.jobs import BatchDone, Job, JobFailed, Scored
from rerank_workers.logs import FieldFormatter
from rerank_workers.probe import PROBE_DOCS
from rerank_workers.service import Service
from rerank_workers.tally import ERRORS_IN_A_ROW


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
        job = self.threads.submitted[index]
        count = len(job.docs)
        self.service.hear(BatchDone(count, count * 5, 0.5))
        self.service.hear(Scored(job, [1.5] * count, [0.8] * count, [5] * count, [0], 0.25, 0.5))


def test_the_bound_of_the_queue_comes_with_the_request() -> None:
    room = Room(max_queued_pairs=1000)

    room.ask(3, max_queued_pairs="4")
    full = room.ask(2, max_queued_pairs="4")
    impossible = room.ask(5, max_queued_pairs="4")
    odd = room.ask(1, max_queued_pairs="many")

    assert (full.status, full.body["code"]) == (429, "queue_full")
    assert (impossible.status, odd.status) == (400, 400)


def test_an_answer_carries_scores_tokens_and_where_the_time_went() -> None:
    room = Room()

    caller = room.ask(2)
    room.clock.advance(1.0)
    room.score()

    assert caller.status == 200
    assert caller.body == {
        "raw": [1.5, 1.5],
        "unit": [0.8, 0.8],
        "tokens": [5, 5],
        "truncated": [0],
        "queue_ms": 250.0,
        "tokenize_ms": 250.0,
        "inference_ms": 500.0,
    }


def test_no_documents_is_an_empty_answer_at_once() -> None:
    room = Room()

    caller = room.ask(0)

    assert caller.status == 200
    assert caller.body["raw"] == caller.body["tokens"] == []
    assert room.threads.submitted == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"\xff", "the body is not UTF-8"),
        (b"[]", "the body must be an object"),
        (b'{"docs": []}', "query must be a string"),
        (b'{"query": 3, "docs": []}', "query must be a string"),
        (b'{"query": "q"}', "docs must be a list of strings"),
        (b'{"query": "q", "docs": "d"}', "docs must be a list of strings"),
        (b'{"query": "q", "docs": ["d", null]}', "docs must be a list of strings"),
        (b'{"query": "q", "docs": [NaN]}', "docs must be a list of strings"),
        (b'{"query": "\\ud800", "docs": []}', "query holds half of a surrogate pair"),
        (b'{"query": "q", "docs": ["a", "\\uDFFF"]}', "docs[1] holds half of a surrogate pair"),
    ],
)
def test_a_bad_body_is_told_by_field(body: bytes, message: str) -> None:
    caller = Room().send(body)

    assert caller.status == 400
    assert caller.body == {"code": "invalid_request", "message": message}


def test_a_whole_surrogate_pair_is_a_character() -> None:
    room = Room()

    room.send(b'{"query": "q", "docs": ["\\ud83d\\ude00"]}')

    assert room.threads.submitted[0].docs == ["\U0001f600"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/score", 405), ("POST", "/health", 405), ("POST", "/", 404), ("GET", "/x", 404)],
)
def test_other_paths_and_methods_are_refused(method: str, path: str, status: int) -> None:
    assert Room().send(path=path, method=method).status == status


def test_a_probe_scores_the_fixed_pairs() -> None:
    room = Room()

    caller = room.send(path="/probe")
    room.score()

    assert room.threads.submitted[0].docs == list(PROBE_DOCS)
    assert caller.status == 200


def test_a_request_may_ask_to_be_scored_alone() -> None:
    room = Room()

    room.ask(alone="1")
    room.ask()

    assert [job.alone for job in room.threads.submitted] == [True, False]


def test_a_deadline_answers_at_once_and_drops_the_work() -> None:
    room = Room()
    caller = room.ask(3, deadline_ms="500")

    room.clock.advance(0.5)

    assert caller.status == 504
    assert caller.body["code"] == "deadline_exceeded"
    assert room.threads.dropped == room.threads.submitted
    assert room.threads.submitted[0].is_gone
    assert (room.service.in_flight, room.service.queued_pairs) == (0, 0)


def test_a_result_after_the_deadline_is_counted_and_not_sent() -> None:
    room = Room()
    caller = room.ask(deadline_ms="500")
    room.clock.advance(1.0)

    room.score()

    assert len(caller.answers) == 1
    assert room.service.tally.pairs == 1


def test_an_answer_in_time_cancels_its_deadline() -> None:
    room = Room()
    caller = room.ask(deadline_ms="500")
    room.score()

    room.clock.advance(1.0)

    assert caller.status == 200
    assert len(caller.answers) == 1


@pytest.mark.parametrize(
    ("value", "status"), [("0", 504), ("-5", 504), ("soon", 400), ("nan", 400), ("inf", 400)]
)
def test_a_deadline_that_passed_or_makes_no_sense_is_refused(value: str, status: int) -> None:
    room = Room()

    assert room.ask(deadline_ms=value).status == status
    assert room.threads.submitted == []


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    room = Room()
    room.ask(8)

    refused = room.ask(3)
    fits = room.ask(2)

    assert refused.status == 429
    assert refused.body["code"] == "queue_full"
    assert ("retry-after", "1") in refused.answers[0].headers
    assert fits.status is None


def test_a_request_larger_than_the_whole_queue_is_not_valid() -> None:
    assert Room().ask(11).status == 400


def test_a_client_that_hangs_up_frees_its_work_at_once() -> None:
    room = Room()
    caller = room.ask(8)

    room.service.hung_up(caller)
    room.service.hung_up(caller)

    assert room.threads.dropped == room.threads.submitted
    assert room.service.queued_pairs == 0
    assert room.ask(8).status is None


def test_a_drain_answers_what_is_in_flight_and_refuses_the_rest() -> None:
    room = Room()
    caller = room.ask()

    room.service.drain()
    refused = room.ask()
    drained_before = list(room.drained)
    room.score()

    assert refused.status == 503
    assert refused.body["code"] == "draining"
    assert caller.status == 200
    assert (drained_before, room.drained) == ([], [True])


def test_an_idle_worker_is_drained_at_once_and_once() -> None:
    room = Room()

    room.service.drain()
    room.service.drain()

    assert room.drained == [True]


@pytest.mark.parametrize("ending", ["deadline", "hang-up", "error"])
def test_a_drain_ends_however_the_last_request_ends(ending: str) -> None:
    room = Room()
    caller = room.ask(deadline_ms="500")
    room.service.drain()

    match ending:
        case "deadline":
            room.clock.advance(1.0)
        case "hang-up":
            room.service.hung_up(caller)
        case _:
            room.service.hear(JobFailed(room.threads.submitted[0], "no", "x"))

    assert room.drained == [True]


def test_health_is_answered_while_draining() -> None:
    room = Room()
    before = room.send(path="/health", method="GET")
    room.service.drain()
    after = room.send(path="/health", method="GET")

    assert before.body == {"state": "running", "info": {"family": "fake"}}
    assert after.body["state"] == "draining"


def test_a_worker_that_gives_up_sends_its_waiters_on() -> None:
    room = Room()
    callers = [room.ask(), room.ask()]

    room.service.give_up()

    assert [caller.body["code"] for caller in callers] == ["draining"] * 2
    assert room.service.in_flight == 0


def test_a_model_error_is_answered_and_counted() -> None:
    room = Room()
    caller = room.ask()

    room.service.hear(JobFailed(room.threads.submitted[0], "ValueError: no", "ValueError"))

    assert caller.status == 500
    assert caller.body == {"code": "model_error", "message": "ValueError: no"}
    fields = room.service.tally.fields()
    assert (fields["requests"], fields["errors"], fields["duration_count"]) == (1, 1, 0)


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, {}),
        ({b"x-request-id": b"mine"}, {"request_id": "mine"}),
        (
            {b"x-request-id": b"mine", b"traceparent": f"00-{TRACE}-b7ad6b7169203331-01".encode()},
            {"request_id": "mine", "trace_id": TRACE},
        ),
        ({b"traceparent": b"no trace"}, {}),
    ],
)
def test_the_log_says_whose_request_failed_but_not_what_it_held(
    caplog: pytest.LogCaptureFixture, headers: dict[bytes, bytes], said: dict[str, str]
) -> None:
    room = Room()
    body = b'{"query": "secret question", "docs": ["secret"]}'
    room.service.receive(Caller(), Request("POST", "/score", headers, body))
    (job,) = room.threads.submitted

    with caplog.at_level("INFO"):
        room.service.hear(JobFailed(job, "ValueError: secret", "ValueError at rerank.py:3"))

    (record,) = caplog.records
    line = FieldFormatter().format(record)
    assert {name: vars(record).get(name) for name in said} == said
    assert ("trace_id" in line, "request_id" in line) == ("trace_id" in said, "request_id" in said)
    assert "ValueError at rerank.py:3" in line
    assert "secret" not in line


def test_many_model_errors_in_a_row_make_the_worker_unhealthy_until_one_is_scored() -> None:
    room = Room(max_queued_pairs=1000)
    job = Job(1, "q", ["d"], 0.0)
    for _ in range(ERRORS_IN_A_ROW - 1):
        room.service.hear(JobFailed(job, "no", "ValueError at rerank.py:3"))
    before = room.service.tally.unhealthy
    room.service.hear(JobFailed(job, "no", "ValueError at rerank.py:3"))
    after = room.service.tally.unhealthy
    room.ask()
    room.score()

    assert before is None
    assert after == "20 model errors in a row, last: ValueError at rerank.py:3"
    assert room.service.tally.unhealthy is None


def test_counters_say_what_the_device_did() -> None:
    room = Room()
    room.ask(4)
    room.score()

    fields = room.service.tally.fields()

    assert fields["requests"] == fields["batches"] == fields["duration_count"] == 1
    assert (fields["pairs"], fields["tokens"], fields["duration_sum_s"]) == (4, 20, 0.5)
    assert room.service.tally.seconds_per_pair == 0.125
