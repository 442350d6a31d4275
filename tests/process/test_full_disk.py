"""What cannot be written, on a disk that is full, keeps the supervisor from nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rerank_server.core.front import FrontExited, FrontPolicy, FrontSpec, StartFront
from rerank_server.supervisor.front import FrontKeeper
from rerank_server.supervisor.gateway import Gateways
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.learnt import LearntFile
from rerank_server.supervisor.listeners import Listeners
from rerank_server.supervisor.site import Site

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
