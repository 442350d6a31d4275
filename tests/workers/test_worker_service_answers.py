"""What the worker's service takes, and what it answers."""

from __future__ import annotations

import pytest

from rerank_workers.probe import PROBE_DOCS
from tests.workers.service import Room


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
