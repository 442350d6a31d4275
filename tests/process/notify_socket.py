"""The service manager's end of sd_notify: hears who said what, in which order."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Notice:
    """One datagram: its assignments in order, and the pid the kernel says it came from."""

    pid: int
    assignments: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> str:
        return dict(self.assignments)[name]

    def __contains__(self, name: str) -> bool:
        return name in dict(self.assignments)


class NotifySocket:
    """A socket to pass as NOTIFY_SOCKET; keeps all it heard."""

    def __init__(self, path: Path | None = None) -> None:
        """Listen at a path, or without one at an abstract name."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        name = f"\0rerank-server-test-{time.monotonic_ns()}" if path is None else str(path)
        self._socket.bind(name)
        self.address = name.replace("\0", "@", 1)
        self.heard: list[Notice] = []

    def until(
        self, reached: Callable[[Notice], object], what: str, timeout_s: float = 30.0
    ) -> Notice:
        """Listen until a datagram does it, and return that one."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                content, ancillary, _, _ = self._socket.recvmsg(65_536, 1024)
            except TimeoutError:
                raise AssertionError(f"{timeout_s:g} s passed before {what}: {self}") from None
            ((_, _, credentials),) = ancillary
            pid, _, _ = struct.unpack("iII", credentials)
            pairs = [line.partition("=") for line in content.decode().split("\n")]
            notice = Notice(pid, tuple((name, value) for name, _, value in pairs))
            self.heard.append(notice)
            if reached(notice):
                return notice

    def until_said(self, name: str, timeout_s: float = 30.0) -> Notice:
        """Listen until a datagram assigns `name`, and return that one."""
        return self.until(lambda notice: name in notice, f"{name} is said", timeout_s)

    def turns(self) -> list[str]:
        """Return the changes of state told so far, in order."""
        kinds = ("READY", "RELOADING", "STOPPING")
        return [name for one in self.heard for name, _ in one.assignments if name in kinds]

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def __repr__(self) -> str:
        return "\n".join(str(one.assignments) for one in self.heard)
