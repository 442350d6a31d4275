"""The gateway under test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.gateway.cascades import by_shortness, routes
from tests.gateway.fakes import route, table
from tests.gateway.harness import Gateway, Run, Scenario
from tests.gateway.mirror_room import Room
from tests.gateway.process import Fleet


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Return a gateway in process, with one version and one worker."""
    gateway = Gateway(tmp_path)
    yield gateway
    gateway.close()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return what runs a scenario on an event loop."""

    def run(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(scenario)

    return run


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Return a mirror with everything around it faked."""
    return Room(tmp_path)


@pytest.fixture
def fast(gateway: Gateway) -> Gateway:
    """Return a gateway whose default is a cascade: v1 keeps the longest two, v2 likes short."""
    gateway.workers.behaviours = {"v2.1": by_shortness}
    gateway.show(routes("v3"))
    return gateway


@pytest.fixture
def fleet(short_dir: Path) -> Iterator[Fleet]:
    """Return a run dir with a routes table, and nothing started."""
    with Fleet(short_dir) as fleet:
        fleet.publish(table(route("v1", "v1.1", sockets=str(short_dir))))
        yield fleet
