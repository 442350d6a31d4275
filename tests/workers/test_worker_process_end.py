"""How a worker process ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rerank_workers import wire
from tests.workers.conftest import Spawn
from tests.workers.scoring_requests import Busy, round_trip, score
from tests.workers.worker_process import DEADLINE_S

pytestmark = pytest.mark.process


def test_a_drain_answers_what_is_in_flight_refuses_the_rest_and_waits_for_stop(
    spawn: Spawn,
) -> None:
    worker = spawn()
    worker.start()
    busy = Busy.occupy(worker)
    idle = worker.connect()
    round_trip(worker)

    worker.send("drain")
    end_of_idle = idle.recv(100)
    status, answer = score(worker, "0.5")
    with worker.client() as client:
        health = client.get("/health")
    answer_of_busy = busy.release()
    worker.wait_for("drained")
    worker.send("stop")
    idle.close()

    assert end_of_idle == b""
    assert (status, answer["code"]) == (503, "draining")
    assert (health.json()["state"], health.headers["connection"]) == ("draining", "close")
    assert answer_of_busy.startswith(b"HTTP/1.1 200 ")
    assert worker.wait_exit() == wire.EXIT_DONE
    assert not worker.socket_path.exists()


@pytest.mark.parametrize("how", ["stop", "SIGTERM"])
def test_stop_answers_what_is_in_flight_then_ends(spawn: Spawn, how: str) -> None:
    worker = spawn()
    worker.start()
    busy = Busy.occupy(worker)

    if how == "stop":
        worker.send("stop")
    else:
        worker.process.send_signal(signal.SIGTERM)
    answer_of_busy = busy.release()

    assert answer_of_busy.startswith(b"HTTP/1.1 200 ")
    worker.wait_for("drained")
    assert worker.wait_exit() == wire.EXIT_DONE


def test_a_long_answer_is_whole_even_as_the_worker_leaves(spawn: Spawn) -> None:
    worker = spawn()
    worker.start(max_queued_pairs=30_000, batch_size=30_000, max_batch_tokens=1_000_000)
    busy = Busy.occupy(worker, *["0.123456789"] * 20_000)
    worker.process.send_signal(signal.SIGTERM)

    answer = busy.release()

    assert answer.count(b"0.123456789") == 40_000
    assert worker.wait_exit() == wire.EXIT_DONE


def test_the_terminal_s_signals_are_the_supervisor_s_business(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()

    worker.process.send_signal(signal.SIGINT)
    worker.process.send_signal(signal.SIGHUP)

    assert score(worker, "0.5")[0] == 200


@pytest.mark.parametrize("end", ["lifeline", "channel"])
def test_a_worker_does_not_outlive_its_supervisor(spawn: Spawn, end: str) -> None:
    worker = spawn()
    worker.start()

    if end == "lifeline":
        worker.close_lifeline()
    else:
        worker.control.shutdown(socket.SHUT_RDWR)

    assert worker.wait_exit() == wire.EXIT_ORPHANED


def test_a_worker_stuck_in_its_model_does_not_outlive_its_supervisor(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()
    busy = Busy.occupy(worker)

    worker.close_lifeline()

    with busy.connection:
        assert worker.wait_exit() == wire.EXIT_ORPHANED


def test_a_worker_whose_parent_is_another_leaves_at_once(short_dir: Path) -> None:
    arguments = ["--control-fd", "0", "--lifeline-fd", "0", "--parent-pid", "1"]
    command = [sys.executable, "-I", "-m", "rerank_workers", *arguments]

    done = subprocess.run(command, cwd=short_dir, timeout=DEADLINE_S, check=False)

    assert os.getpid() != 1
    assert done.returncode == wire.EXIT_ORPHANED


def test_stacks_are_dumped_on_request(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()
    busy = Busy.occupy(worker)

    worker.process.send_signal(signal.SIGUSR1)
    round_trip(worker)

    log = worker.log.read_text()
    busy.release()
    assert "rerank.py" in log
    assert "Thread 0x" in log


def test_a_supervisor_that_speaks_nonsense_is_left(spawn: Spawn) -> None:
    worker = spawn()
    worker.start()

    worker.send("later protocol")
    worker.configure()
    before = score(worker, "0.5")[0]
    worker.control.sendall(b"nonsense\n")

    assert before == 200
    assert worker.wait_exit() == wire.EXIT_ORPHANED


def test_many_clients_at_once_get_their_own_scores(spawn: Spawn) -> None:
    worker = spawn()
    worker.start(batch_size=16, max_queued_pairs=10_000)
    wrong: list[object] = []

    def ask(number: int) -> None:
        with worker.client() as client:
            for turn in range(20):
                docs = [f"0.{number}{turn}{place}1" for place in range(1 + (number + turn) % 7)]
                answer = client.post("/score", json={"query": "q", "docs": docs}).json()
                if answer["raw"] != [float(doc) for doc in docs]:
                    wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert wrong == []
