"""A worker process starts, or says why it cannot."""

from __future__ import annotations

import sys

import pytest

from rerank_workers import wire
from tests.workers.conftest import Spawn
from tests.workers.scoring_requests import BARE

pytestmark = pytest.mark.process


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
