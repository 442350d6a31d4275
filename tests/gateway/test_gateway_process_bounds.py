"""What processes of the gateway take at most: requests, connections, memory."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from tests.gateway.fakes import LIMITS, route, table
from tests.gateway.process import PATIENCE_S, Fleet, pss_bytes
from tests.gateway.worker import Worker

pytestmark = pytest.mark.process

BODY = {"query": "q", "docs": ["aa", "b"]}
GET = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


def test_three_processes_together_take_as_many_requests_as_the_server_may(fleet: Fleet) -> None:
    place = str(fleet.run_dir)
    fleet.publish(
        table(route("v1", "v1.1", sockets=place), limits=replace(LIMITS, max_concurrent_requests=3))
    )
    gateway = fleet.start("--processes", "3")
    for _ in range(3):
        gateway.ready()

    def until_taken() -> int:
        statuses = iter(lambda: fleet.post(BODY).status_code, 200)
        return 1 + sum(status == 429 for status in statuses)

    with (
        Worker(fleet.run_dir / "v1.1.sock") as worker,
        ThreadPoolExecutor(3) as pool,
        asyncio.Runner() as runner,
    ):
        tries = [pool.submit(until_taken) for _ in range(3)]
        peers = [runner.run(worker.accept()) for _ in tries]
        refused = [fleet.post(BODY).status_code for _ in range(20)]
        for peer in peers:
            runner.run(peer.request())
            runner.run(peer.scores(0.25, 0.75))

        assert refused == [429] * 20
        assert all(each.result(PATIENCE_S) >= 1 for each in tries)
    assert fleet.get("/info").json()["max_concurrent_requests"] == 3


def test_half_a_head_a_long_head_and_a_connection_too_many_are_bounded(fleet: Fleet) -> None:
    limits = replace(LIMITS, head_timeout_s=0.2, max_head_bytes=2048, max_connections=2)
    fleet.publish(table(route("v1", "v1.1"), limits=limits))
    fleet.start().ready()
    with (
        socket.create_connection(("127.0.0.1", fleet.port), PATIENCE_S) as half,
        socket.create_connection(("127.0.0.1", fleet.port), PATIENCE_S) as long,
    ):
        half.sendall(GET[:10])
        long.sendall(b"GET / HTTP/1.1\r\nx: " + b"a" * 3000)
        with socket.create_connection(("127.0.0.1", fleet.port), PATIENCE_S) as third:
            # the long head may have been refused, and its place be free, before this one came
            third.sendall(GET)
            assert read_all(third).startswith((b"HTTP/1.1 503", b"HTTP/1.1 200"))
        assert read_all(long).startswith(b"HTTP/1.1 431")
        assert read_all(half).startswith(b"HTTP/1.1 408")
    assert fleet.get("/health").status_code == 200


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes, or has answered and keeps the connection."""
    sock.settimeout(1.0)
    said = b""
    try:
        while part := sock.recv(65_536):
            said += part
            if b"status" in part:
                break
    except TimeoutError:
        pass
    return said


def test_connections_over_the_cap_get_a_503(fleet: Fleet) -> None:
    fleet.publish(table(route("v1", "v1.1"), limits=replace(LIMITS, max_connections=1)))
    fleet.start().ready()
    with httpx.Client(base_url=fleet.url, timeout=PATIENCE_S) as client:
        assert client.get("/health").status_code == 200

        refused = fleet.get("/health")

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "unavailable"


def test_a_connection_s_limits_are_those_of_the_routes_table_in_force(fleet: Fleet) -> None:
    fleet.start().ready()
    fleet.publish(table(route("v1", "v1.1"), limits=replace(LIMITS, keep_alive_s=0.1)))

    with socket.create_connection(("127.0.0.1", fleet.port), PATIENCE_S) as client:
        client.sendall(GET)
        client.settimeout(PATIENCE_S)
        while client.recv(65_536):
            pass


def test_arbiter_and_one_process_together_stay_small(fleet: Fleet) -> None:
    gateway = fleet.start()
    pid = gateway.ready()
    fleet.post({"query": 3})
    fleet.get("/metrics")

    assert pss_bytes([gateway.process.pid, pid]) < 75_000_000
