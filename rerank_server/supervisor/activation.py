"""Socket activation: takes over the listening socket of whoever started this, sd_listen_fds(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence

from rerank_server.errors import ListenError

FIRST_FD = 3
NAME = "http"
"""FileDescriptorName= of the socket to serve on, where more than one is passed."""


def take(
    environ: MutableMapping[str, str], pid: int, first_fd: int = FIRST_FD
) -> socket.socket | None:
    """Return the listening socket passed to this very process, or None when none was.

    Takes the variables out of `environ` and keeps every descriptor passed from children;
    those that are not served on are closed.

    Raises:
        ListenError: what was passed is not one listening TCP socket.
    """
    for_pid, count, names = (
        environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    if for_pid != str(pid) or not count.isdecimal() or int(count) == 0:
        return None
    passed = range(first_fd, first_fd + int(count))
    chosen = _choose(passed, names.split(":") if names else [])
    try:
        for descriptor in passed:
            os.set_inheritable(descriptor, False)
            if descriptor != chosen:
                os.close(descriptor)
        sock = socket.socket(fileno=chosen)
    except OSError as error:
        raise ListenError(f"LISTEN_FDS={count}: {error.strerror}; nothing is passed") from error
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not listens or sock.family not in (socket.AF_INET, socket.AF_INET6):
        sock.close()
        raise ListenError(
            "the socket passed by the service manager is no listening TCP socket; its unit needs "
            "ListenStream= with a port, and Accept=no"
        )
    return sock


def _choose(passed: range, names: Sequence[str]) -> int:
    if len(passed) == 1:
        return passed[0]
    named = [fd for fd, name in zip(passed, names, strict=False) if name == NAME]
    if len(named) != 1:
        shown = ", ".join(names) or "without names"
        raise ListenError(
            f"{len(passed)} sockets are passed ({shown}) and one is served on; "
            f"pass one, or set FileDescriptorName={NAME} for it alone"
        )
    return named[0]
