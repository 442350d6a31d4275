"""The supervisor's end of a worker's control channel: JSON lines over a socketpair."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

_MAX_LINE_BYTES = 1 << 20
_READ_BYTES = 1 << 16

Message = Mapping[str, object]


class Channel:
    """Reads messages as they come, writes without ever blocking the loop."""

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        received: Callable[[Message], None],
    ) -> None:
        self._socket = sock
        self._loop = loop
        self._received = received
        self._buffer = b""
        sock.setblocking(False)
        loop.add_reader(sock, self._on_readable)

    def send(self, message: Message) -> bool:
        """Send one message; False when the worker does not read or is gone."""
        line = json.dumps(message, ensure_ascii=False).encode() + b"\n"
        try:
            return self._socket.send(line, socket.MSG_NOSIGNAL) == len(line)
        except OSError:
            return False

    def drain(self) -> None:
        """Deliver what has already arrived; to be called before an exit is reported."""
        while self._socket.fileno() >= 0 and self._read():
            pass

    def close(self) -> None:
        """Stop reading and close. Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        try:
            chunk = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self.close()
            return False
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            self._deliver(line)
        if len(self._buffer) > _MAX_LINE_BYTES:
            log.error("worker sent an endless line; its channel is closed")
            self.close()
        return True

    def _deliver(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict):
            self._received(message)
        else:
            log.warning("worker sent a line that is no message", extra={"bytes": len(line)})
