"""Which of the sockets a service manager passes is taken over, with real descriptors."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerank_server.core.front import FrontSpec
from rerank_server.errors import ListenError
from rerank_server.supervisor.activation import take
from rerank_server.supervisor.listeners import Listeners

FIRST = 700
PID = 4321
SPEC = FrontSpec("192.0.2.1", 1, 1, "console", "info")


@pytest.fixture
def passed() -> Iterator[list[int]]:
    """Two listening TCP sockets at the descriptors 700 and 701, as after an exec; their ports."""
    ports = []
    for number in (0, 1):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            os.dup2(sock.fileno(), FIRST + number, inheritable=True)
            ports.append(sock.getsockname()[1])
    yield ports
    for number in (0, 1):
        with contextlib.suppress(OSError):
            os.close(FIRST + number)


def environment(count: int, names: str = "", pid: int = PID) -> dict[str, str]:
    found = {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count), "PATH": "/bin"}
    return {**found, "LISTEN_FDNAMES": names} if names else found


@pytest.mark.parametrize(
    "environ",
    [{"PATH": "/bin"}, environment(1, pid=1), environment(0)],
    ids=["nothing was passed", "meant for another process", "none"],
)
def test_without_a_socket_of_ours_there_is_none(environ: dict[str, str]) -> None:
    assert take(environ, PID, FIRST) is None
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("count", "names", "index"),
    [(1, "", 0), (1, "rerank-server.socket", 0), (2, "http:metrics", 0), (2, "other:http", 1)],
)
def test_the_one_socket_or_the_one_named_http_is_taken_and_no_child_gets_any(
    passed: list[int], count: int, names: str, index: int
) -> None:
    environ = environment(count, names)

    sock = take(environ, PID, FIRST)

    assert sock is not None
    with sock:
        assert sock.getsockname()[1] == passed[index]
        assert not sock.get_inheritable()
    assert environ == {"PATH": "/bin"}
    for number in range(count):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(FIRST + number)


@pytest.mark.parametrize("names", ["", "one:two", "http:http"])
def test_two_sockets_of_which_none_stands_out_are_refused(passed: list[int], names: str) -> None:
    with pytest.raises(ListenError, match="2 sockets are passed"):
        take(environment(2, names), PID, FIRST)


def test_a_socket_that_does_not_listen_or_is_no_tcp_socket_is_refused(short_dir: Path) -> None:
    connected, other = socket.socketpair()
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(short_dir / "x"))
    local.listen()
    with connected, other, local:
        for sock in (connected, local):
            os.dup2(sock.fileno(), FIRST)

            with pytest.raises(ListenError, match="no listening TCP socket"):
                take(environment(1), PID, FIRST)


def test_a_descriptor_that_is_not_there_is_refused() -> None:
    with pytest.raises(ListenError, match="Bad file descriptor"):
        take(environment(1), PID, FIRST)


def test_an_inherited_socket_stands_for_every_address_until_the_end(passed: list[int]) -> None:
    sock = take(environment(1), PID, FIRST)
    assert sock is not None
    listeners = Listeners(sock)

    listeners.open(SPEC)
    listeners.keep_only(set())

    assert listeners.of(SPEC) is sock
    assert (listeners.host(SPEC), listeners.port(SPEC)) == ("127.0.0.1", passed[0])
    listeners.close()
    assert sock.fileno() == -1
