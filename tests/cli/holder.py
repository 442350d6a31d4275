"""Hold a run dir's lock and say each SIGHUP; SIGTERM lets it go and ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from rerank_server.supervisor.lock import RunLock
from rerank_server.supervisor.rundir import RunDir, prepare_run_dir

if __name__ == "__main__":
    signals = {signal.SIGHUP, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    run = RunDir(Path(sys.argv[1]))
    prepare_run_dir(run, os.getuid())
    with RunLock.take(run):
        print("held", flush=True)
        while signal.sigwait(signals) != signal.SIGTERM:
            print("SIGHUP", flush=True)
