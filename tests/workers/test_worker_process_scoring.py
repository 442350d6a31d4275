"""A worker process scores, and lives with a model that fails."""

from __future__ import annotations

import pytest

from rerank_workers import wire
from tests.workers.conftest import Spawn
from tests.workers.scoring_requests import Busy, http, round_trip, score

pytestmark = pytest.mark.process


def test_scores_come_back_over_the_socket(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()

    status, answer = score(worker, "0.25", "0.75", "x" * 500)

    assert status == 200
    assert answer["raw"] == answer["unit"] == [0.25, 0.75, 0.5]
    assert (answer["tokens"], answer["truncated"]) == ([4, 4, 500], [2])


def test_a_bare_rerank_serves(spawn: Spawn) -> None:
    worker = spawn("def rerank(query, docs):\n    return [min(1, len(d) / 10) for d in docs]\n")
    info = worker.start()["info"]

    status, answer = score(worker, "a", "bbb")

    assert info == {"family": "custom", "engine": "rerank.py"}
    assert (status, answer["raw"], answer["unit"]) == (200, [0.1, 0.3], [0.1, 0.3])


@pytest.mark.parametrize("doc", ["nan", "raise", "short", "outside"])
def test_a_model_error_fails_one_request_and_no_other(spawn: Spawn, doc: str) -> None:
    worker = spawn()
    worker.start()
    busy = Busy.occupy(worker)
    with worker.connect() as guilty, worker.connect() as innocent:
        guilty.sendall(http(worker, doc))
        innocent.sendall(http(worker, "0.5"))
        round_trip(worker)
        answer_of_busy = busy.release()
        guilty_answer, innocent_answer = guilty.recv(65536), innocent.recv(65536)

    assert answer_of_busy.startswith(b"HTTP/1.1 200 ")
    assert guilty_answer.startswith(b"HTTP/1.1 500 ")
    assert b'"code":"model_error"' in guilty_answer
    assert innocent_answer.startswith(b"HTTP/1.1 200 ")
    assert score(worker, "0.5")[0] == 200


def test_a_query_the_tokenizer_cannot_take_fails_alone(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()

    status, answer = score(worker, "0.5", query="raise")

    assert (status, answer["message"]) == (500, "ValueError: the query said so")
    assert score(worker, "0.5")[0] == 200


def test_the_log_never_quotes_a_request(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()

    score(worker, "raise", "secret", query="private")

    log = worker.log.read_text()
    assert "RuntimeError at rerank.py:" in log
    assert not any(text in log for text in ("secret", "private", "said so"))


def test_many_model_errors_in_a_row_are_told_in_the_beats(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()
    for _ in range(20):
        score(worker, "raise")

    while (beat := worker.wait_for("beat"))["unhealthy"] is None:
        pass

    assert str(beat["unhealthy"]).startswith("20 model errors in a row, last: RuntimeError at ")
    assert beat["errors"] == beat["requests"] == 20


def test_a_batch_the_device_has_no_room_for_is_split(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()

    status, answer = score(worker, "pair", "0.25", "pair")

    assert (status, answer["raw"]) == (200, [0.5, 0.25, 0.5])


def test_a_pair_the_device_has_no_room_for_sends_the_waiters_on_and_ends_the_worker(
    spawn: Spawn,
) -> None:
    worker = spawn()
    worker.start()

    status, answer = score(worker, "memory")

    assert (status, answer["code"]) == (503, "draining")
    assert worker.wait_for("failed")["would_fail_again"] is False
    assert worker.wait_exit() == wire.EXIT_NO_DEVICE_MEMORY


def test_a_model_that_ends_the_process_is_a_lost_connection(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()
    with worker.connect() as connection:
        connection.sendall(http(worker, "exit"))
        answer = connection.recv(100)

    assert answer == b""
    assert worker.wait_exit() == 9


def test_a_probe_scores_fixed_pairs(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()

    with worker.client() as client:
        answer = client.post("/probe").json()

    assert len(answer["raw"]) == len(answer["unit"]) == 3
