"""What waits in a worker process."""

from __future__ import annotations

import pytest

from tests.workers.conftest import Spawn
from tests.workers.scoring_requests import Busy, http, round_trip, score, scored

pytestmark = pytest.mark.process


def test_a_client_that_hangs_up_is_never_scored(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()
    busy = Busy.occupy(worker)
    leaver = worker.connect()
    leaver.sendall(http(worker, "0.111", "0.222"))
    round_trip(worker)

    leaver.close()
    round_trip(worker)
    answer_of_busy = busy.release()

    assert answer_of_busy.startswith(b"HTTP/1.1 200 ")
    assert score(worker, "0.9")[0] == 200
    assert "0.111" not in scored(worker)
    assert "0.9" in scored(worker)


def test_a_deadline_is_answered_while_the_device_is_busy(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()
    busy = Busy.occupy(worker)
    with worker.connect() as late:
        late.sendall(http(worker, "0.111", deadline_ms="50"))
        answer = late.recv(65536)
    answer_of_busy = busy.release()

    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b'"code":"deadline_exceeded"' in answer
    assert answer_of_busy.startswith(b"HTTP/1.1 200 ")
    assert score(worker, "0.9")[0] == 200
    assert "0.111" not in scored(worker)


def test_a_full_queue_refuses_at_once(spawn: Spawn) -> None:
    worker = spawn()
    worker.start(max_queued_pairs=3)
    busy = Busy.occupy(worker, "0.1")

    status, answer = score(worker, "0.2", "0.3")
    answer_of_busy = busy.release()

    assert (status, answer["code"]) == (429, "queue_full")
    assert answer_of_busy.startswith(b"HTTP/1.1 200 ")


def test_a_beat_says_what_is_in_flight_and_since_when(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()
    busy = Busy.occupy(worker, "0.1")

    working = worker.wait_for("beat", in_flight=1, queued_pairs=2)
    answer_of_busy = busy.release()
    idle = worker.wait_for("beat", in_flight=0, pairs=2)

    assert isinstance(working["batch_started_at"], float)
    assert isinstance(working["memory_bytes"], int)
    assert idle["batch_started_at"] is None
    assert (idle["requests"], idle["tokens"], idle["duration_count"]) == (1, 7, 1)
    assert isinstance(idle["duration_buckets"], dict)
    assert list(idle["duration_buckets"].values()) == [1]
    assert answer_of_busy.startswith(b"HTTP/1.1 200 ")
