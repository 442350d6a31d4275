"""Copies for comparison take only what nobody else wants: tokenizer and device."""

from __future__ import annotations

import pytest

from rerank_workers.chunks import Span
from rerank_workers.device import COPY_SHARE
from rerank_workers.inbox import Inbox
from rerank_workers.jobs import BatchDone, JobFailed, Loaded, Scored
from rerank_workers.runner import COPY_AT_ONCE, COPY_CHARS_AT_ONCE
from tests.workers.jobs import copy, request
from tests.workers.test_worker_device import Fake, device_of, run
from tests.workers.test_worker_runner import Bench, Build, build

__all__ = ["build"]  # a fixture


# --- the inbox of the tokenizing thread -----------------------------------------------------------


def test_a_copy_leaves_the_inbox_after_the_requests_that_came_later() -> None:
    inbox = Inbox()
    jobs = [copy(1), request(2), copy(3), request(4)]
    for job in jobs:
        inbox.put(job)

    taken = [inbox.get() for _ in jobs]

    assert [job.number for job in taken if job] == [2, 4, 1, 3]


def test_only_requests_pass_a_copy_that_is_being_tokenized() -> None:
    inbox = Inbox()
    inbox.put(copy(1))
    asked = request(2)

    before = inbox.get_request()
    inbox.put(asked)

    assert before is None
    assert inbox.get_request() is asked


def test_a_closed_inbox_gives_out_nothing() -> None:
    inbox = Inbox()
    inbox.put(request(1))

    inbox.close()

    assert inbox.get() is None


# --- the device -----------------------------------------------------------------------------------


def test_a_copy_is_scored_when_no_request_waits() -> None:
    fake = Fake()
    device = device_of(fake, copy(1, "aa"), request(2, "bb"), request(3, "cc"))

    run(device)

    assert fake.batches == [["bb", "cc"], ["aa"]]


def test_a_request_that_comes_waits_for_one_small_batch_of_a_copy_at_most() -> None:
    fake = Fake()
    device = device_of(fake, copy(1, *"abcdefgh"), batch_size=8)
    device.score_next()
    late = device_of(fake, request(2, "zz"))

    run(late)
    run(device)

    assert [len(batch) for batch in fake.batches] == [8 // COPY_SHARE, 1, 2, 2, 2]


def test_a_copy_s_scores_are_those_of_a_request() -> None:
    device = device_of(Fake(), copy(1, "a", "ccc", "bb", "long"))

    (scored,) = [event for event in run(device) if isinstance(event, Scored)]

    assert scored.raw == [0.1, 0.3, 0.2, 0.4]
    assert scored.truncated == [3]


def test_a_copy_that_does_not_fit_the_device_fails_and_the_worker_stays() -> None:
    device = device_of(Fake(), copy(1, "huge"), copy(2, "a"))

    events = run(device)

    failed = [event.job.number for event in events if isinstance(event, JobFailed)]
    scored = [event.job.number for event in events if isinstance(event, Scored)]
    assert (failed, scored) == ([1], [2])


def test_a_copy_is_dropped_like_a_request() -> None:
    fake = Fake()
    gone, late = copy(1, "a"), copy(2, "b", deadline=0.5)
    device = device_of(fake, gone, late)

    device.drop(gone)

    assert run(device) == []
    assert fake.batches == []


def test_a_copy_for_a_bare_rerank_stays_whole() -> None:
    fake = Fake(mixes_requests=False)
    device = device_of(fake, copy(1, *"abcdefgh"), whole_requests=True)

    run(device)

    assert fake.batches == [list("abcdefgh")]


# --- the threads ----------------------------------------------------------------------------------


def finish(bench: Bench) -> Scored:
    """Let one batch after the other end until a job is scored."""
    while True:
        bench.model.gate.put(None)
        event = bench.next()
        if isinstance(event, Scored):
            return event
        assert isinstance(event, BatchDone | Loaded)


def test_requests_are_tokenized_between_the_parts_of_a_copy(build: Build) -> None:
    bench = build(holds_encoding=True)
    bench.next()
    docs = ["d"] * (COPY_AT_ONCE + 1)

    bench.runner.submit(copy(1, *docs, query="copy"))
    parts = [bench.encoded()]
    bench.runner.submit(request(2, "r", query="request"))
    for _ in range(3):
        bench.model.may_encode.put(None)
    parts += [bench.encoded(), bench.encoded()]

    assert parts == ["copy", "request", "copy"]
    assert finish(bench).job.number == 2
    assert len(finish(bench).raw) == len(docs)


HALF = COPY_CHARS_AT_ONCE // 2


@pytest.mark.parametrize(
    ("query", "docs", "parts"),
    [
        pytest.param("q", ["d"] * (2 * COPY_AT_ONCE), 2, id="many"),
        pytest.param("q", ["d" * (HALF - 1)] * 4, 2, id="long"),
        pytest.param("q", ["d" * HALF] * 4, 4, id="longer"),
        pytest.param("q", ["d", "d" * 9 * HALF, "d"], 3, id="one is longer by itself"),
        pytest.param("q" * HALF, ["d"] * 3, 3, id="the query is long"),
    ],
)
def test_a_part_of_a_copy_is_small_by_documents_and_by_characters(
    build: Build, query: str, docs: list[str], parts: int
) -> None:
    bench = build()
    bench.next()

    bench.runner.submit(copy(1, *docs, query=query))

    assert len(finish(bench).raw) == len(docs)
    assert [bench.encoded() for _ in range(parts)] == [query] * parts
    assert bench.model.encoded.empty()


def test_a_copy_that_is_given_up_is_tokenized_no_further(build: Build) -> None:
    bench = build(holds_encoding=True)
    bench.next()
    gone = copy(1, *["d"] * (COPY_AT_ONCE + 1), query="copy")

    bench.runner.submit(gone)
    bench.encoded()
    gone.is_gone = True
    bench.runner.submit(request(2, "r", query="request"))
    bench.runner.submit(copy(3, "c", query="another"))
    for _ in range(3):
        bench.model.may_encode.put(None)

    assert [bench.encoded(), bench.encoded()] == ["request", "another"]


def test_the_windows_of_a_copy_s_parts_stay_with_their_documents(build: Build) -> None:
    bench = build(chunk=True)
    bench.next()
    docs = ["short"] * COPY_AT_ONCE + ["It flew quite far. It was fast."]

    bench.runner.submit(copy(1, *docs))
    scored = finish(bench)

    assert scored.won is not None
    assert [won.count for won in scored.won] == [1] * COPY_AT_ONCE + [2]
    assert scored.won[-1].span == Span(0, 19)
