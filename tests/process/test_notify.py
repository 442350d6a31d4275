"""How the supervisor speaks to a notify socket that is slow, unknown, or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_server.core.notice import Summary
from rerank_server.supervisor.notify import Notices
from tests.process.notify_socket import NotifySocket

SUMMARY = Summary(
    enabled=100,
    running=0,
    default="v1",
    default_wanted="v1",
    default_runs=True,
    gateway_serves=True,
    is_settled=True,
)


@pytest.fixture
def listening(short_dir: Path) -> Iterator[NotifySocket]:
    socket = NotifySocket(short_dir / "notify")
    yield socket
    socket.close()


def test_a_slow_reader_blocks_nobody_and_misses_nothing(listening: NotifySocket) -> None:
    notices = Notices(listening.address)
    room = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    told = [replace(SUMMARY, running=number) for number in range(room + 40)]

    for summary in told:
        notices.tell(summary, now=0.0)
    while len(listening.heard) < len(told):
        listening.until(lambda _: True, "the next one", timeout_s=5.0)
        notices.tell(told[-1], now=0.0)  # the next turn of the loop sends what there is room for
    notices.close()

    assert [int(n["STATUS"].split()[0]) for n in listening.heard] == list(range(len(told)))
    assert listening.turns() == ["READY"]


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}],
    ids=["none", "empty", "of a kind not known"],
)
def test_without_a_socket_to_speak_to_nothing_is_said(environ: dict[str, str]) -> None:
    notices = Notices.take(environ, os.getpid())

    notices.tell(SUMMARY, now=0.0)

    notices.close()
    assert environ == {}


@pytest.mark.parametrize(
    ("variables", "fed"),
    [
        ({"WATCHDOG_USEC": "9000000"}, True),
        ({"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "7"}, True),
        ({"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "8"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
def test_the_watchdog_is_fed_when_it_watches_this_process(
    listening: NotifySocket, variables: dict[str, str], fed: bool
) -> None:
    environ = {"NOTIFY_SOCKET": listening.address, **variables, "PATH": "/bin"}
    notices = Notices.take(environ, pid=7)

    notices.tell(SUMMARY, now=0.0)

    notices.close()
    assert ("WATCHDOG" in listening.until_said("READY")) is fed
    assert environ == {"PATH": "/bin"}
