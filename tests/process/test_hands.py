"""What the hands of the loop report of children: all they said, and that there never was one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from rerank_server.core.front import FrontExited
from rerank_server.core.types import Event, Exited, SaidFarewell, Spawned
from rerank_server.core.wanted import WorkerSpec
from rerank_server.supervisor.gateway import Gateways
from rerank_server.supervisor.janitor import Janitor
from rerank_server.supervisor.site import Site
from rerank_server.supervisor.workers import Workers

TALKATIVE = f"""#!{sys.executable}
import json, os, sys
lines = [{{"type": "progress", "stage": "load" * 1000}}] * 20
lines += [{{"type": "failed", "reason": "no such file", "would_fail_again": True, "cause": None}}]
control = int(sys.argv[sys.argv.index("--control-fd") + 1])
os.write(control, b"".join(json.dumps(line).encode() + b"\\n" for line in lines))
os._exit(3)
"""
"""A worker that says more than one read of the channel takes, and is gone at once."""


def spec_of(python: Path) -> WorkerSpec:
    return WorkerSpec(
        version="v1",
        directory=str(python.parent),
        fingerprint="",
        python=str(python),
        model="model",
        device="cpu",
        batch_size=1,
        max_length=8,
        max_batch_tokens=8,
        use_fp16=False,
        threads=None,
        clean=False,
    )


def test_all_that_a_worker_said_is_heard_before_its_end(site: Site, short_dir: Path) -> None:
    python = short_dir / "python"
    python.write_text(TALKATIVE)
    python.chmod(0o700)
    ended = site.loop.create_future()
    heard: list[Event] = []

    def happened(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Exited):
            ended.set_result(None)

    workers = Workers(site, happened, lambda beat: None)
    workers.start("v1.1", spec_of(python))
    (spawned,) = heard
    assert isinstance(spawned, Spawned)
    os.waitid(os.P_PID, spawned.pid, os.WEXITED | os.WNOWAIT)  # the loop did not run meanwhile
    site.loop.run_until_complete(asyncio.wait_for(ended, 20))

    assert [type(event) for event in heard] == [Spawned, SaidFarewell, Exited]


def test_a_gateway_that_was_never_spawned_ends_when_it_is_killed(site: Site) -> None:
    heard: list[object] = []
    gateways = Gateways(site, heard.append)

    gateways.kill(3)

    assert heard == [FrontExited(3, "was never spawned")]


@pytest.mark.timeout(20)
def test_a_janitor_that_was_stopped_holds_nobody_up() -> None:
    janitor = Janitor()
    os.kill(janitor.pid, signal.SIGSTOP)

    for _ in range(20_000):  # more than its pipe takes
        janitor.release(1 << 22)  # no group there could be

    janitor.close(timeout_s=0.1)
