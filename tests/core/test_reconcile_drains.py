"""What is no longer wanted goes, and the default route moves before."""

from __future__ import annotations

import pytest

from rerank_server.core.lifecycle import apply
from rerank_server.core.reconcile import reconcile
from rerank_server.core.served import point_default
from rerank_server.core.types import BecameReady, Drain, Exited, Fleet, Kill, State
from rerank_server.core.wanted import NOTHING
from tests.core.build import (
    POLICY,
    carry_on,
    drained,
    failure,
    fleet,
    started,
    states,
    version,
    wanted,
    worker,
)

V1, V2, V3 = version(), version("v2"), version("v3")


def test_a_version_no_longer_wanted_drains() -> None:
    without = wanted(V1, version("v2", enabled=False))

    actions = reconcile(without, fleet(worker(), worker("v2")), 1.0, POLICY)

    assert actions == [Drain("v2.1", "no longer wanted")]


def test_a_version_no_longer_wanted_is_killed_while_it_starts() -> None:
    without = wanted(V1, version("v2", enabled=False))

    actions = reconcile(without, fleet(worker(), worker("v2", State.STARTING)), 1.0, POLICY)

    assert actions == [Kill("v2.1", "no longer wanted", is_failure=False)]


def test_the_drains_of_a_reload_wait_until_all_its_starts_have_settled() -> None:
    new = wanted(V1, V3)
    before = fleet(worker(), worker("v2"))

    loading, actions = carry_on(new, before)
    assert (started(actions), drained(actions)) == (["v3.1"], [])
    ready = apply(loading, BecameReady("v3.1", {}), 1.0, POLICY)

    assert drained(reconcile(new, ready, 1.0, POLICY)) == ["v2.1"]


@pytest.mark.parametrize("code", [3, -11], ids=["would fail again", "crash"])
def test_a_start_that_failed_has_settled(code: int) -> None:
    new = wanted(V1, V3)
    loading, _ = carry_on(new, fleet(worker(), worker("v2")))

    failed = apply(loading, Exited("v3.1", code, "no"), 1.0, POLICY)

    assert drained(reconcile(new, failed, 1.0, POLICY)) == ["v2.1"]


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        (fleet(worker(), worker("v2", State.STARTING)), "v1"),
        (fleet(worker(), failures=(failure("v2"),)), "v1"),
        (fleet(worker(), worker("v2")), "v2"),
        (fleet(worker(state=State.DRAINING), worker("v2", State.STARTING)), "v2"),
        (fleet(default=None), "v2"),
    ],
    ids=["it starts", "it failed", "it runs", "neither runs", "boot"],
)
def test_the_default_pointer_moves_only_when_the_new_default_is_running(
    running: Fleet, expected: str
) -> None:
    assert point_default(wanted(V2, V1, default="v2"), running) == expected


def test_the_default_pointer_stays_when_nothing_is_wanted() -> None:
    assert point_default(NOTHING, fleet()) == "v1"


def test_the_old_default_serves_on_while_the_new_one_does_not_run() -> None:
    moved = wanted(V2, version(enabled=False))
    broken = fleet(worker(), failures=(failure("v2"),))

    assert reconcile(moved, broken, 1.0, POLICY) == []


def test_the_old_default_drains_once_the_new_one_runs() -> None:
    moved = wanted(V2, version(enabled=False))

    actions = reconcile(moved, fleet(worker(), worker("v2"), default="v2"), 1.0, POLICY)

    assert actions == [Drain("v1.1", "no longer wanted")]


def test_when_nothing_is_wanted_everything_goes() -> None:
    everything = fleet(
        worker(),
        worker("v2", State.STARTING),
        worker("v3", State.DRAINING),
        worker("v4", State.STOPPING),
        failures=(failure("v5", retry_at=0.5),),
    )

    after, actions = carry_on(NOTHING, everything, now=1.0)

    assert started(actions) == []
    assert set(states(after).values()) == {State.DRAINING, State.STOPPING}
