"""What cannot be written, on a disk that is full, keeps the supervisor from nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rerank_server.core.front import FrontExited, FrontPolicy, FrontSpec, StartFront
from rerank_server.supervisor.front import FrontKeeper
from rerank_server.supervisor.gateway import Gateways
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.learnt import LearntFile
from rerank_server.supervisor.listeners import Listeners
from rerank_server.supervisor.rotation import LIMIT_BYTES
from rerank_server.supervisor.site import Site
from tests.process.server import Server, version_of

SPEC = FrontSpec("127.0.0.1", 8000, 1, "console", "info")
POLICY = FrontPolicy(stop_timeout_s=45.0, keep_alive_s=30.0)


@pytest.fixture
def journal() -> Iterator[Journal]:
    """Return an event log on a disk that is full."""
    journal = Journal(Path("/dev/full"))
    yield journal
    journal.close()


def test_a_gateway_that_ended_is_followed_by_another(site: Site, journal: Journal) -> None:
    keeper = FrontKeeper(Gateways(site, lambda event: None), Listeners(), journal)
    assert keeper.decide(SPEC, 0.0, POLICY) == [StartFront(1, SPEC)]

    keeper.absorb(FrontExited(1, "exited with code 1"), 1.0)

    assert keeper.decide(SPEC, 1.0, POLICY) == [StartFront(2, SPEC)]


def test_learnt_memory_is_tried_to_be_kept_every_ten_seconds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "memory.json"
    path.mkdir()  # fails as a full disk does
    file = LearntFile(path)

    for now in range(12):
        file.save({"a": 5}, float(now))
    path.rmdir()
    file.save({"a": 5}, 20.0)

    assert LearntFile(path).read() == {"a": 5}
    assert caplog.messages == ["learnt memory cannot be kept"] * 2


@pytest.fixture
def full(server: Server) -> Server:
    """Return a server whose routes cannot be written, and one of whose versions crashed."""
    server.configure("v1", {"v1": {}, "v2": {}})
    server.start()
    assert server.rerank().status_code == 200  # the gateway has read that both run
    routes = server.run_dir / "routes.json"
    routes.unlink()
    routes.mkdir()  # no file can take its place
    os.kill(server.pid_of("v1"), signal.SIGKILL)  # so that they change
    log = server.root / "supervisor.log"
    said = "what the server does cannot be published"
    server.until(lambda: said in log.read_text(), "it was said")
    return server


def told(server: Server) -> list[tuple[object, object]]:
    """Return which process went to which state, from the event log."""
    return [(e.get("instance"), e.get("to")) for e in server.events()]


@pytest.mark.process
@pytest.mark.timeout(60)
def test_who_crashed_is_replaced_and_serves_once_the_gateway_can_be_told(full: Server) -> None:
    full.until(lambda: ("v1.2", "RUNNING") in told(full), "it was started again", timeout_s=20)
    (full.run_dir / "routes.json").rmdir()
    full.wait(lambda s: version_of(s, "v1")["restarts"] == 1, "the gateway was told")

    assert full.rerank().json()["version"] == "v1"
    assert told(full).count(("v1.1", None)) == told(full).count(("v1.2", "STARTING")) == 1
    assert "a turn of the loop failed" not in (full.root / "supervisor.log").read_text()


@pytest.mark.process
@pytest.mark.timeout(60)
def test_who_is_replaced_serves_on_until_the_gateway_can_be_told(full: Server) -> None:
    old = full.pid_of("v2")
    full.configure("v1", {"v1": {}, "v2": {"env": {"TEST_SCORE": "0.2"}}})
    full.hang_up()

    full.until(lambda: ("v2.2", "RUNNING") in told(full), "its successor runs", timeout_s=20)
    assert full.rerank("/rerank/v2").json()["scores"][0] == 0.5
    assert ("v2.1", "DRAINING") not in told(full)  # else its deadlines would run
    (full.run_dir / "routes.json").rmdir()
    full.until(lambda: not psutil.pid_exists(old), "it was ended")

    assert full.rerank("/rerank/v2").json()["scores"][0] == 0.2


@pytest.mark.process
@pytest.mark.timeout(60)
def test_logs_are_rotated_though_nothing_can_be_published(full: Server) -> None:
    log = full.state_dir / "logs" / "v1.log"
    os.truncate(log, LIMIT_BYTES + 1)

    full.until(log.with_name("v1.log.1").exists, "the log was rotated")


@pytest.mark.process
@pytest.mark.timeout(60)
def test_a_server_is_stopped_though_it_cannot_say_so(full: Server) -> None:
    gateway = full.state()["gateway"]["pid"]

    full.stop(timeout_s=10)

    assert not psutil.pid_exists(gateway)
