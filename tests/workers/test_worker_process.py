from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from rerank_workers import wire
from tests.workers.conftest import Spawn
from tests.workers.worker_process import DEADLINE_S, WorkerProcess

pytestmark = pytest.mark.process

BARE = "def rerank(query, docs):\n    return [len(doc) / 10 for doc in docs]\n"


def http(worker: WorkerProcess, *docs: str, query: str = "q", **headers: str) -> bytes:
    """Return the bytes of a request to score."""
    body = json.dumps({"query": query, "docs": docs}).encode()
    lines = [f"x-rerank-{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = ["POST /score HTTP/1.1", f"content-length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


@dataclass
class Busy:
    """A request that holds the device until it is released."""

    worker: WorkerProcess
    connection: socket.socket

    @classmethod
    def occupy(cls, worker: WorkerProcess, *docs: str) -> Busy:
        """Send the document `gate` and others; return once their batch is on the device."""
        connection = worker.connect()
        connection.sendall(http(worker, "gate", *docs))
        (worker.directory / "arrived").read_bytes()
        return cls(worker, connection)

    def release(self) -> bytes:
        """Let the batch end; return the whole answer."""
        (self.worker.directory / "gate").write_bytes(b"")
        with self.connection:
            answer = self.connection.recv(65536)
            head, _, body = answer.partition(b"\r\n\r\n")
            length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
            while len(body) < length:
                body += self.connection.recv(65536)
        return head + body


def round_trip(worker: WorkerProcess, times: int = 2) -> None:
    """Return when the worker's event loop has handled all that was sent before, twice over."""
    with worker.client() as client:
        for _ in range(times):
            assert client.get("/health").status_code == 200


def score(worker: WorkerProcess, *docs: str, query: str = "q") -> tuple[int, dict[str, object]]:
    with worker.client() as client:
        answer = client.post("/score", json={"query": query, "docs": docs})
    return answer.status_code, answer.json()


def scored(worker: WorkerProcess) -> list[str]:
    return (worker.directory / "scored").read_text().split()


# --- start ----------------------------------------------------------------------------------------


def test_a_start_says_hello_then_its_stages_then_ready_then_beats(spawn: Spawn) -> None:
    worker = spawn()

    hello = worker.wait_for("hello")
    worker.configure()
    ready = worker.wait_for("ready")
    worker.wait_for("beat")

    assert hello["pid"] == worker.process.pid
    assert (hello["protocol"], hello["python"]) == (wire.PROTOCOL, sys.version.split()[0])
    kinds = [m["type"] for m in worker.received if m["type"] not in ("hello", "beat")]
    assert kinds == ["progress"] * 3 + ["ready"]
    stages = [m["stage"] for m in worker.received if m["type"] == "progress"]
    assert stages == ["import", "load", "warmup"]
    assert isinstance(ready["info"], dict)
    assert worker.received[-2:][0]["type"] == "ready"


def test_the_version_finds_its_environment_prepared(spawn: Spawn) -> None:
    info = spawn(environment={"SECRET": "s"}).start(threads=3)["info"]

    assert info == {
        "OMP_NUM_THREADS": "3",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "SECRET": "s",
        "threads": "3",
        "torch": "False",
    }


def test_the_loop_beats_while_a_version_loads_and_stop_ends_it(spawn: Spawn) -> None:
    worker = spawn(BARE + "def load(context):\n    open('gate').read()\n")
    worker.configure()
    worker.wait_for("progress", stage="load")

    beat = worker.wait_for("beat")
    worker.send("stop")

    assert (beat["in_flight"], beat["batch_started_at"], beat["unhealthy"]) == (0, None, None)
    assert worker.wait_exit() == wire.EXIT_DONE


def test_a_worker_told_to_drain_while_it_loads_never_serves(spawn: Spawn) -> None:
    worker = spawn(BARE + "def load(context):\n    open('gate').read()\n    raise SystemExit\n")
    worker.configure()
    worker.wait_for("progress", stage="load")

    worker.send("drain")
    worker.wait_for("drained")
    (worker.directory / "gate").write_bytes(b"")
    failed = worker.wait_for("failed")

    assert failed["reason"] == "rerank.py: SystemExit"
    assert not worker.socket_path.exists()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import foo\n", "rerank.py: ModuleNotFoundError: No module named 'foo'"),
        (
            "import rerank_server.core\n",
            "rerank.py: ModuleNotFoundError: rerank_server cannot be imported inside a worker",
        ),
        ("def rerank(q, d):\n    return 3\n", "rerank.py: warm-up: score must return one number"),
        ("def rerank(\n", "rerank.py:1: SyntaxError: '(' was never closed"),
    ],
)
def test_a_broken_version_fails_for_good_with_its_reason(
    spawn: Spawn, source: str, reason: str
) -> None:
    worker = spawn(source)
    worker.configure()

    failed = worker.wait_for("failed")

    assert str(failed["reason"]).startswith(reason)
    assert failed["would_fail_again"] is True
    assert worker.wait_exit() == wire.EXIT_WOULD_FAIL_AGAIN


def test_no_memory_at_load_asks_for_another_place(spawn: Spawn) -> None:
    load = "def load(context):\n    raise DeviceMemoryError('asked for 9 GB')\n"
    worker = spawn(BARE + "from rerank_workers.scorer import DeviceMemoryError\n" + load)
    worker.configure()

    failed = worker.wait_for("failed")

    assert failed["would_fail_again"] is False
    assert worker.wait_exit() == wire.EXIT_NO_DEVICE_MEMORY


def test_a_socket_that_cannot_be_opened_is_a_failure(spawn: Spawn) -> None:
    worker = spawn()
    worker.configure(socket="/nowhere/w.sock")

    assert "socket: FileNotFoundError" in str(worker.wait_for("failed")["reason"])
    assert worker.wait_exit() == wire.EXIT_CRASHED


def test_a_configuration_that_does_not_fit_is_a_failure(spawn: Spawn) -> None:
    worker = spawn()
    worker.configure(batch_size="many")

    assert worker.wait_for("failed")["reason"] == "configure: batch_size has type str"
    assert worker.wait_exit() == wire.EXIT_WOULD_FAIL_AGAIN


# --- scoring --------------------------------------------------------------------------------------


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


# --- the queue ------------------------------------------------------------------------------------


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


# --- the end --------------------------------------------------------------------------------------


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
