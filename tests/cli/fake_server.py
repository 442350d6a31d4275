"""A server in the foreground that does what it is told: one JSON order a line from a fifo.

Takes the arguments of `start --foreground`. The fifo `orders` lies beside the config.
Orders: {"state": object} publishes it under the own pid, {"outcome": object} answers requests
with it from now on, {"print": text}, {"exit": code}. SIGTERM lets the lock go and ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType

from rerank_server.cli.options import replay
from rerank_server.supervisor import requests
from rerank_server.supervisor.lock import RunLock
from rerank_server.supervisor.requests import Outcome
from rerank_server.supervisor.rundir import RunDir, prepare_run_dir, write_json


class Server:
    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.outcome: Mapping[str, object] | None = None

    def obey(self, order: dict[str, object]) -> None:
        match order:
            case {"state": dict(state)}:
                state["server"]["pid"] = os.getpid()
                write_json(self.run.state, state)
            case {"outcome": dict(outcome)}:
                self.outcome = outcome
                self.answer()
            case {"print": str(text)}:
                print(text, flush=True)
            case {"exit": int(code)}:
                raise SystemExit(code)

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.answer()

    def answer(self) -> None:
        """Answer once both the request and what to answer are there, whichever came first."""
        if self.outcome is None:
            return
        for request in requests.pending(self.run, 1):
            reasons = {"asked": f"{request.verb} {request.version}"}
            outcome = Outcome(request.id, **{"reasons": reasons, **self.outcome})  # type: ignore[arg-type]  # the test says what
            requests.answer(self.run, outcome)


def end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    options = replay(sys.argv[1:])
    assert options is not None
    prepare_run_dir(options.run, os.getuid())
    server = Server(options.run)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, server.hear)
    signal.signal(signal.SIGALRM, server.hear)  # some verbs ring no bell: it looks by itself
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    with (options.config.parent / "orders").open() as orders, RunLock.take(options.run):
        for line in orders:
            server.obey(json.loads(line))
