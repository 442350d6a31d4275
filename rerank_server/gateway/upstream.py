"""Sends a score request to a worker over its Unix socket, and tells what became of it."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from typing import Literal, Protocol

import orjson

from rerank_server.core import wire
from rerank_server.core.routing import FallbackReason, Target
from rerank_server.errors import DeadlineError
from rerank_server.gateway.connection import Answer, Connection, Ending
from rerank_server.gateway.trace import Trace

_MAX_IDLE = 64  # connections kept per worker; what a burst opened beyond is closed after use
_HEAD = (
    b"POST %b HTTP/1.1\r\nhost: worker\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n%b: %d\r\n%b: %d\r\nx-request-id: %b\r\n%b%b%b\r\n"
)
_PATH = wire.SCORE_PATH.encode()
_PROBE_PATH = wire.PROBE_PATH.encode()
_DEADLINE = wire.HEADER_DEADLINE_MS.encode()
_MAX_QUEUED_PAIRS = wire.HEADER_MAX_QUEUED_PAIRS.encode()
_ALONE = f"{wire.HEADER_ALONE}: 1\r\n".encode()
_COPY = f"{wire.HEADER_MIRROR}: 1\r\n".encode()


@dataclass(frozen=True, slots=True)
class Errand:
    """What is sent to a worker."""

    payload: bytes
    """JSON object with `query` and `docs`."""
    request_id: str
    """Printable ASCII."""
    deadline: float
    """Monotonic clock, seconds."""
    is_alone: bool = False
    """Whether the worker must score it in a batch of its own."""
    is_probe: bool = False
    """Whether the worker is to score its own fixed pairs instead of the payload."""
    is_copy: bool = False
    """Whether it is for comparison only: the worker scores it while nothing else waits."""
    max_queued_pairs: int = wire.MAX_QUEUED_PAIRS
    """Most pairs that may wait there, its own included."""
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The worker did not take the request: nothing was executed, another may try."""

    reason: FallbackReason


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection died after the worker had read the request: it may have been executed."""


Outcome = Answer | Refused | Lost


class Upstream(Protocol):
    """The way to the workers."""

    async def score(self, target: Target, errand: Errand) -> Outcome:
        """Have one worker score the errand. Cancelling hangs up on the worker.

        Raises:
            DeadlineError: the errand's deadline passed first.
        """


class SocketUpstream:
    """Workers behind Unix sockets, over pooled HTTP/1.1 connections. One per event loop."""

    def __init__(self) -> None:
        self._idle: dict[str, list[Connection]] = {}

    async def score(self, target: Target, errand: Errand) -> Outcome:
        """Send the errand over idle connections until one is alive, else over a new one.

        Raises:
            DeadlineError: the errand's deadline passed first.
        """
        path = target.socket
        idle = self._idle.get(path)
        while idle:
            outcome = await self._exchange(path, idle.pop(), errand)
            if outcome is not Ending.UNREAD:
                return outcome
        connection = await self._open(path)
        if isinstance(connection, Refused):
            return connection
        outcome = await self._exchange(path, connection, errand)
        return Refused(FallbackReason.LOST) if outcome is Ending.UNREAD else outcome

    def close(self) -> None:
        """Close the idle connections."""
        for connections in list(self._idle.values()):
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _exchange(
        self, path: str, connection: Connection, errand: Errand
    ) -> Outcome | Literal[Ending.UNREAD]:
        remaining_s = errand.deadline - time.monotonic()
        if remaining_s <= 0:
            connection.close()
            raise DeadlineError
        outcome = await connection.exchange(_head(errand, remaining_s), errand.payload, remaining_s)
        if connection.is_reusable:
            self._keep(path, connection)
        match outcome:
            case Answer(status=503) if _is_draining(outcome.body):
                return Refused(FallbackReason.DRAINING)
            case Ending.DIED:
                return Lost()
            case _:
                return outcome

    async def _open(self, path: str) -> Connection | Refused:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.connect(path)  # a Unix socket connects at once or not at all
            _, connection = await asyncio.get_running_loop().create_unix_connection(
                lambda: Connection(lambda closed: self._forget(path, closed)), sock=sock
            )
        except BlockingIOError:  # EAGAIN: its backlog is full, nobody accepts
            sock.close()
            return Refused(FallbackReason.HUNG)
        except OSError:
            sock.close()
            return Refused(FallbackReason.LOST)
        except BaseException:
            sock.close()
            raise
        return connection

    def _keep(self, path: str, connection: Connection) -> None:
        idle = self._idle.setdefault(path, [])
        if len(idle) < _MAX_IDLE:
            idle.append(connection)
        else:
            connection.close()

    def _forget(self, path: str, connection: Connection) -> None:
        idle = self._idle.get(path)
        if idle is not None:
            if connection in idle:
                idle.remove(connection)
            if not idle:
                del self._idle[path]


def _head(errand: Errand, remaining_s: float) -> bytes:
    return _HEAD % (
        _PROBE_PATH if errand.is_probe else _PATH,
        len(errand.payload),
        _DEADLINE,
        int(remaining_s * 1000),
        _MAX_QUEUED_PAIRS,
        errand.max_queued_pairs,
        errand.request_id.encode("ascii"),
        _ALONE if errand.is_alone else b"",
        _COPY if errand.is_copy else b"",
        b"" if errand.trace is None else errand.trace.header_line(),
    )


def _is_draining(body: bytes) -> bool:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(parsed, dict) and parsed.get("code") == wire.CODE_DRAINING
