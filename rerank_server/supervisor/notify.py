"""Talks to the service manager that started this process: sd_notify(3) over NOTIFY_SOCKET."""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import MutableMapping
from typing import Self

from rerank_server.core.notice import Said, Summary, notices

log = logging.getLogger(__name__)

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_MOST_UNSENT = 64


class Notices:
    """Tells the service manager what it should know; where there is none, does nothing.

    All methods belong to the loop's thread, and none blocks.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        """Talk to the socket at `address`: a path, or "@" and an abstract name."""
        self._address = address.replace("@", "\0", 1) if address is not None else None
        self._watchdog_s = watchdog_s
        self._said = Said()
        self._unsent: deque[str] = deque(maxlen=_MOST_UNSENT)
        self._is_deaf = False
        self._socket: socket.socket | None = None
        if address is not None:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_UNIX, kind)

    @classmethod
    def take(cls, environ: MutableMapping[str, str], pid: int) -> Self:
        """Read what the service manager said, and take it out: no child shall find it."""
        address, usec, watched_pid = (environ.pop(name, "") for name in _VARIABLES)
        if not address.startswith(("/", "@")):
            if address:
                log.warning("this kind of notify socket is not known", extra={"address": address})
            return cls(None)
        is_watched = usec.isdecimal() and int(usec) > 0 and watched_pid in ("", str(pid))
        return cls(address, int(usec) / 1_000_000 if is_watched else None)

    def tell(self, summary: Summary, now: float) -> None:
        """Send what is due. Must come from the control loop: it feeds the watchdog, too."""
        if self._socket is None:
            return
        datagrams, self._said = notices(summary, self._said, now, self._watchdog_s)
        self._unsent.extend(datagrams)
        self._send()

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()

    def _send(self) -> None:
        assert self._socket is not None
        while self._unsent:
            try:
                self._socket.sendto(self._unsent[0].encode(), self._address or "")
            except BlockingIOError:
                return  # its queue is full; the next tick tries again, in order
            except OSError as error:
                if not self._is_deaf:
                    log.warning("service manager cannot be told", extra={"why": error.strerror})
                self._is_deaf = True
                self._unsent.clear()
                return
            self._is_deaf = False
            self._unsent.popleft()
