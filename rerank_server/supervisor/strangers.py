"""Reaps orphans that fell to this process as pid 1, as an init must; leaves its own children be."""

from __future__ import annotations

import os
from collections.abc import Callable


def reap_strangers(is_ours: Callable[[int], bool]) -> int:
    """Reap every ended child that nobody here waits for; return how many. Never blocks.

    Stops at the first ended child of our own: its exit is about to be handled, and what waits
    behind it is found on the next call.
    """
    reaped = 0
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return reaped
        if found is None or is_ours(found.si_pid):
            return reaped
        os.waitpid(found.si_pid, os.WNOHANG)
        reaped += 1
