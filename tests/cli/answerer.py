"""A supervisor's side of the requests: answer each one found on SIGHUP as its verb says."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from rerank_server.supervisor import requests
from rerank_server.supervisor.lock import RunLock
from rerank_server.supervisor.requests import Outcome, Request
from rerank_server.supervisor.rundir import RunDir, prepare_run_dir


def outcome(request: Request) -> Outcome:
    return Outcome(
        request.id,
        "applied",
        generation=7,
        started=("v1",),
        kept=("v2-m3",),
        reasons={"v1": f"{request.verb} {request.version} {request.device} by {request.actor}"},
    )


if __name__ == "__main__":
    mode = sys.argv[2]  # answer | ignore | die
    signals = {signal.SIGHUP, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    run = RunDir(Path(sys.argv[1]))
    prepare_run_dir(run, os.getuid())
    with RunLock.take(run):
        requests.clear(run)
        print("held", flush=True)
        while signal.sigwait(signals) == signal.SIGHUP and mode != "die":
            for request in requests.pending(run, 6) if mode == "answer" else ():
                requests.answer(run, outcome(request))
