"""A real gateway among clients that idle, trickle, pour and do not read: bounded, and it serves."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gateway.fakes import LIMITS, route, table
from tests.gateway.fleet_state import publish_state
from tests.gateway.process import PATIENCE_S, Fleet, pss_bytes

pytestmark = pytest.mark.process

IDLE = 10_000
MB = 1 << 20


@pytest.fixture
def fleet(short_dir: Path) -> Iterator[Fleet]:
    """Return a run dir in which no gateway runs yet."""
    with Fleet(short_dir) as fleet:
        yield fleet


@pytest.fixture
def many_descriptors() -> Iterator[int]:
    """Allow this process as many connections as it may have; return how many to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield min(IDLE, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(fleet: Fleet, stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", fleet.port), PATIENCE_S))


def pour(sock: socket.socket, content: bytes) -> None:
    with suppress(OSError):  # refused before all was sent
        sock.sendall(content)


def test_ten_thousand_idle_connections_leave_room_for_others(
    fleet: Fleet, many_descriptors: int
) -> None:
    limits = replace(LIMITS, max_connections=IDLE + 10, head_timeout_s=600.0)
    fleet.publish(table(route("v1", "v1.1"), limits=limits))
    pid = fleet.start().ready()
    before = pss_bytes([pid])
    with ExitStack() as stack:
        for _ in range(many_descriptors):
            connect(fleet, stack)

        assert fleet.get("/health").status_code == 200
        assert (pss_bytes([pid]) - before) / many_descriptors < 16_384
    assert fleet.get("/health").status_code == 200


def test_heads_of_27_megabytes_are_cut_off_in_little_memory(fleet: Fleet) -> None:
    fleet.publish(table(route("v1", "v1.1")))
    pid = fleet.start().ready()
    before = pss_bytes([pid])
    head = b"GET /health HTTP/1.1\r\nx: " + b"a" * 27_000_000
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        socks = [connect(fleet, stack) for _ in range(8)]
        for sock in socks:
            pool.submit(pour, sock, head)

        assert fleet.get("/health").status_code == 200
        for sock in socks:
            assert sock.recv(12) == b"HTTP/1.1 431"
    assert pss_bytes([pid]) - before < 20 * MB


def test_bodies_that_stop_half_way_hold_no_more_than_they_may(fleet: Fleet) -> None:
    limits = replace(
        LIMITS, max_body_bytes=8 * MB, max_in_flight_bytes=20 * MB, body_timeout_s=600.0
    )
    fleet.publish(table(route("v1", "v1.1"), limits=limits))
    pid = fleet.start().ready()
    before = pss_bytes([pid])
    head = b"POST /rerank HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n700000\r\n"
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        socks = [connect(fleet, stack) for _ in range(8)]
        for sock in socks:
            pool.submit(pour, sock, head + b"a" * (6 * MB))
        with selectors.DefaultSelector() as selector:  # unlike select, takes any number of a socket
            for sock in socks:
                selector.register(sock, selectors.EVENT_READ, sock)
            refused = selector.select(PATIENCE_S)

        assert refused[0][0].data.recv(12) == b"HTTP/1.1 429"
        assert fleet.get("/health").status_code == 200
        assert pss_bytes([pid]) - before < 80 * MB


def test_a_client_that_asks_and_asks_and_never_reads_is_let_go(fleet: Fleet) -> None:
    limits = replace(LIMITS, keep_alive_s=0.3, max_connections=1)
    fleet.publish(table(route("v1", "v1.1"), limits=limits))
    publish_state(fleet.run_dir, {"versions": [{"name": "v1", "description": "a" * MB}]})
    fleet.start().ready()
    with ExitStack() as stack:
        connect(fleet, stack).sendall(b"GET /versions HTTP/1.1\r\nhost: x\r\n\r\n" * 50)

        deadline = time.monotonic() + PATIENCE_S
        while (status := fleet.get("/health").status_code) == 503:
            assert time.monotonic() < deadline, "it still has the only place"
        assert status == 200
