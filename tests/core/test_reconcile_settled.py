"""When a version has settled."""

from __future__ import annotations

import pytest

from rerank_server.core.reconcile import is_settled, runs, serving_or_coming
from rerank_server.core.types import Fleet, State
from tests.core.build import failure, fleet, spec, version, wanted, worker

V1 = version()


@pytest.mark.parametrize(
    ("now_fleet", "expected"),
    [
        (fleet(), False),
        (fleet(worker(state=State.STARTING)), False),
        (fleet(worker()), True),
        (fleet(worker(files="old")), False),
        (fleet(failures=(failure(),)), True),
        (fleet(worker(state=State.STARTING), failures=(failure(retry_at=1.0),)), True),
        (fleet(failures=(failure(files="old"),)), False),
    ],
    ids=["none", "starts", "runs", "old runs", "failed", "tries again", "old failed"],
)
def test_a_version_has_settled_when_it_runs_or_failed_once(
    now_fleet: Fleet, expected: bool
) -> None:
    assert is_settled(wanted(V1), now_fleet, "v1") is expected


@pytest.mark.parametrize("name", ["disabled", "problem", "v9"])
def test_a_version_that_cannot_run_has_settled(name: str) -> None:
    configured = wanted(
        V1, version("disabled", enabled=False), version("problem", problem="no model files")
    )

    assert is_settled(configured, fleet(), name)


def test_serving_or_coming_is_the_process_of_exactly_that_spec() -> None:
    slot = fleet(
        worker(files="old"),
        worker(state=State.DRAINING, number=2),
        worker(state=State.STARTING, number=3),
    ).slot("v1")

    assert serving_or_coming(slot, spec()) == slot.instances[2]
    assert not runs(slot, spec())
    assert runs(slot, spec(files="old"))
