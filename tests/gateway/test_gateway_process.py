"""The gateway as the supervisor meets it: processes, signals, pipes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from rerank_server.core.wire import EXIT_ORPHANED
from tests.gateway.fakes import route, table
from tests.gateway.harness import series
from tests.gateway.process import PATIENCE_S, Fleet, wait_gone
from tests.gateway.worker import Worker

pytestmark = pytest.mark.process

BODY = {"query": "q", "docs": ["aa", "b"]}
GET = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


def test_it_serves_once_ready_and_finishes_what_is_in_flight_on_term(fleet: Fleet) -> None:
    gateway = fleet.start()
    pid = gateway.ready()
    assert fleet.get("/health").json() == {"status": "ok"}

    with (
        Worker(fleet.run_dir / "v1.1.sock") as worker,
        ThreadPoolExecutor(1) as pool,
        asyncio.Runner() as runner,
    ):
        answer = pool.submit(fleet.post, BODY)
        peer = runner.run(worker.accept())
        runner.run(peer.request())
        gateway.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            gateway.process.wait(0.3)
        runner.run(peer.scores(0.25, 0.75))

        assert answer.result(PATIENCE_S).json()["scores"] == [0.25, 0.75]
        assert answer.result().headers["connection"] == "close"
    assert gateway.wait() == 0
    wait_gone(pid)


def test_it_ends_at_once_when_the_lifeline_does(fleet: Fleet) -> None:
    gateway = fleet.start("--processes", "2")
    pids = [gateway.ready(), gateway.ready()]

    fleet.cut_lifeline()

    assert gateway.wait() in (EXIT_ORPHANED, -signal.SIGKILL)
    for pid in pids:
        wait_gone(pid, 2.0)


def test_its_processes_end_when_the_arbiter_is_killed(fleet: Fleet) -> None:
    gateway = fleet.start("--processes", "2")
    pids = [gateway.ready(), gateway.ready()]

    gateway.process.kill()

    for pid in pids:
        wait_gone(pid, 2.0)


def test_it_does_not_start_for_a_supervisor_that_is_gone(fleet: Fleet) -> None:
    gateway = fleet.start(parent_pid=1)

    assert gateway.wait() == EXIT_ORPHANED


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies_is_replaced_and_its_counters_go_on(
    fleet: Fleet, sent: signal.Signals
) -> None:
    gateway = fleet.start()
    first = gateway.ready()
    fleet.post({"query": 3})
    counted = 'reranker_requests_total{status="400",version="v1"}'
    assert series(fleet.get("/metrics").text)[counted] == 1.0

    os.kill(first, sent)
    second = gateway.ready()
    fleet.post({"query": 3})

    assert second != first
    assert series(fleet.get("/metrics").text)[counted] == 2.0
    assert sorted(path.name for path in (fleet.run_dir / "metrics").glob("counter*")) == [
        "counter_0.db"
    ]


def test_four_processes_share_the_socket_and_the_metrics(fleet: Fleet) -> None:
    gateway = fleet.start("--processes", "4")
    pids = {gateway.ready() for _ in range(4)}
    assert len(pids) == 4

    for _ in range(40):
        assert fleet.post({"query": 3}).status_code == 400

    said = series(fleet.get("/metrics").text)
    assert said['reranker_requests_total{status="400",version="v1"}'] == 40.0


def test_an_old_generation_sends_its_clients_over_to_the_new_one(fleet: Fleet) -> None:
    old = fleet.start()
    old.ready()
    with httpx.Client(base_url=fleet.url, timeout=PATIENCE_S) as client:
        assert "connection" not in client.get("/health").headers

        new = fleet.start(generation=2)
        new.ready()
        routes = table(route("v1", "v1.1", sockets=str(fleet.run_dir)), gateway_generation=2)
        fleet.publish(routes)
        assert client.get("/health").headers["connection"] == "close"

        old.process.send_signal(signal.SIGTERM)
        assert old.wait() == 0
        answers = [client.get("/health") for _ in range(20)]
        assert all(answer.status_code == 200 for answer in answers)
        assert all("connection" not in answer.headers for answer in answers)


def test_an_idle_client_does_not_hold_the_end(fleet: Fleet) -> None:
    gateway = fleet.start()
    gateway.ready()
    with (
        httpx.Client(base_url=fleet.url, timeout=PATIENCE_S) as client,
        socket.create_connection(("127.0.0.1", fleet.port), PATIENCE_S) as half,
    ):
        client.get("/health")
        half.sendall(GET[:10])

        gateway.process.send_signal(signal.SIGTERM)

        assert gateway.process.wait(5.0) == 0


@pytest.mark.parametrize(
    "ignored", [signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN, signal.SIGWINCH]
)
def test_gunicorns_own_verbs_do_nothing(fleet: Fleet, ignored: signal.Signals) -> None:
    gateway = fleet.start()
    gateway.ready()

    gateway.process.send_signal(ignored)
    gateway.process.send_signal(signal.SIGTERM)

    assert gateway.wait() == 0
    assert fleet.log().count("gateway process ready") == 1


@pytest.mark.parametrize(("style", "sign"), [("json", '{"time":'), ("console", " warning ")])
def test_logs_are_in_the_style_asked_for_and_hold_no_text(
    fleet: Fleet, style: str, sign: str
) -> None:
    gateway = fleet.start("--log-format", style)
    gateway.ready()
    with (
        Worker(fleet.run_dir / "v1.1.sock") as worker,
        ThreadPoolExecutor(1) as pool,
        asyncio.Runner() as runner,
    ):
        answer = pool.submit(fleet.post, {"query": "sEcReT", "docs": ["sEcReT"]})
        peer = runner.run(worker.accept())
        runner.run(peer.request())
        worker.die()
        assert answer.result(PATIENCE_S).status_code == 503
    gateway.process.terminate()
    gateway.wait()

    lost = [line for line in fleet.log().splitlines() if "worker lost while scoring" in line]
    assert len(lost) == 1
    assert sign in lost[0]
    assert "v1.1" in lost[0]
    assert "sEcReT" not in fleet.log()


def test_a_broken_pipe_to_the_supervisor_is_no_reason_to_die(fleet: Fleet) -> None:
    gateway = fleet.start()
    pid = gateway.ready()
    os.close(gateway.detach_ready())

    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)

    assert fleet.get("/health").status_code == 200


def test_wrong_arguments_are_said_in_a_line(fleet: Fleet) -> None:
    result = subprocess.run(
        [sys.executable, "-I", "-m", "rerank_server.gateway", "--listen-fd", "x"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 2
    assert "--listen-fd" in result.stderr
    assert "Traceback" not in result.stderr
