"""Ends this process with its supervisor, whatever state either is in, and guards its imports."""

from __future__ import annotations

import ctypes
import faulthandler
import importlib.machinery
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from rerank_workers.wire import EXIT_ORPHANED

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def follow_parent(parent_pid: int) -> None:
    """Ask the kernel to kill us with our parent; leave at once if it is already gone.

    The comparison closes the race with a parent that died before the request; the expected pid
    is given because in a container the parent may rightly be pid 1.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(EXIT_ORPHANED)


def watch(descriptor: int) -> None:
    """Leave the process when the pipe ends; a thread, because the event loop may be stuck."""
    os.set_inheritable(descriptor, False)
    threading.Thread(target=_wait_for_end, args=(descriptor,), name="lifeline", daemon=True).start()


def _wait_for_end(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os._exit(EXIT_ORPHANED)


def dump_stacks_on_signal() -> None:
    """Write every thread's stack to stderr on SIGUSR1, and before dying of a fault."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)


def ignore_terminal() -> None:
    """Leave Ctrl-C and hang-up to the supervisor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def refuse_import(package: str) -> None:
    """Make `import package` fail here: a version must not depend on the server's inside."""
    sys.meta_path.insert(0, _Refusal(package))


class _Refusal(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Refuse the package and everything in it; leave the rest to the other finders."""
        if fullname.partition(".")[0] == self._package:
            message = f"{self._package} cannot be imported inside a worker"
            raise ModuleNotFoundError(message, name=fullname)
        return None
