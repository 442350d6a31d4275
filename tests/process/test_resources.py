"""Hundreds of reloads and restarts leave supervisor and gateway as they were."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import pytest

from tests.process.server import Server, version_of

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

ROUNDS = 200
WARM_UP = 30
GROWTH_BYTES = 6 << 20


@dataclass(frozen=True)
class Weight:
    """What the control plane holds at one moment."""

    descriptors: int
    threads: int
    processes: int
    memory_bytes: int


def weigh(server: Server) -> Weight:
    assert server.process is not None
    supervisor = psutil.Process(server.process.pid)
    family = [supervisor, *supervisor.children(recursive=True)]
    control = [p for p in family if "rerank_workers" not in p.cmdline()]
    return Weight(
        sum(p.num_fds() for p in control),
        sum(p.num_threads() for p in control),
        len(family),
        sum(p.memory_info().rss for p in control),
    )


def test_two_hundred_reloads_and_worker_restarts_leave_the_control_plane_flat(
    server: Server,
) -> None:
    server.configure("v1", {"v1": {}, "v2": {}})
    server.start()

    for turn in range(ROUNDS + WARM_UP):
        server.configure("v1", {"v1": {}, "v2": {"batch_size": 1 + turn % 64}})
        generation = server.state()["generation"]
        server.hang_up()
        server.wait(
            lambda s, g=generation: (  # type: ignore[misc]  # bound now
                s["generation"] > g
                and [i["state"] for i in version_of(s, "v2")["instances"]] == ["RUNNING"]
            ),
            "v2 was replaced",
        )
        if turn == WARM_UP:
            before = weigh(server)
    after = weigh(server)

    assert server.rerank("/rerank/v2").status_code == 200
    assert after.processes == before.processes
    assert after.threads == before.threads
    assert after.descriptors <= before.descriptors + 2  # keep-alive connections come and go
    assert after.memory_bytes - before.memory_bytes < GROWTH_BYTES
