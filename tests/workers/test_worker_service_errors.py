"""Errors of the model, and what is counted and logged of requests."""

from __future__ import annotations

import pytest

from rerank_workers.exchange import Request
from rerank_workers.jobs import Job, JobFailed
from rerank_workers.logs import FieldFormatter
from rerank_workers.tally import ERRORS_IN_A_ROW
from tests.workers.service import Caller, Room


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
