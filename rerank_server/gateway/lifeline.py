"""Makes a process end with its parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import threading

from rerank_server.core.wire import EXIT_ORPHANED

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends; end now if it did already.

    Call it in the new process, from the main thread. The parent must have started it from its
    main thread: the signal comes when the *thread* that did ends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        os._exit(EXIT_ORPHANED)


def watch(lifeline_fd: int) -> None:
    """End this process as soon as the other end of the lifeline is closed.

    A thread of its own does the waiting, so a busy event loop delays nothing. Threads do not
    survive a fork: call it again in each child.
    """
    threading.Thread(target=_wait, args=(lifeline_fd,), name="lifeline", daemon=True).start()


def _wait(fd: int) -> None:
    while os.read(fd, 1):
        pass
    os._exit(EXIT_ORPHANED)
