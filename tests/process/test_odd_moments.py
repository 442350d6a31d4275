"""What an operator or an accident does at an odd moment."""

from __future__ import annotations

import signal
import time

from tests.process.server import READY_S, Server


def test_a_bell_that_rings_before_the_server_listens_for_it_ends_nothing(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    pid, deadline = server.run_dir / "pid", time.monotonic() + READY_S

    server.spawn()
    assert server.process is not None
    while not pid.exists():  # without a pause: it listens some milliseconds later
        assert time.monotonic() < deadline
    server.process.send_signal(signal.SIGHUP)

    server.wait_version("v1", "RUNNING")
