"""What is started, in which order, and what is tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.lifecycle import apply, forget
from rerank_server.core.reconcile import reconcile
from rerank_server.core.types import BecameReady, Exited, Failure, Start, State, WasReset
from rerank_server.core.wanted import WantedVersion
from tests.core.build import (
    ONE_SLOT,
    POLICY,
    carry_on,
    failure,
    fleet,
    spec,
    started,
    states,
    version,
    wanted,
    worker,
)

V1, V2, V3 = version(), version("v2"), version("v3")


# --- wanted, none running -----------------------------------------------------------------------


def test_a_wanted_version_with_none_running_is_started() -> None:
    assert reconcile(wanted(V1), fleet(), 0.0, POLICY) == [Start("v1.1", spec())]


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_a_version_that_runs_or_comes_is_not_started_again(state: State) -> None:
    assert reconcile(wanted(V1), fleet(worker(state=state)), 0.0, POLICY) == []


@pytest.mark.parametrize("state", [State.DRAINING, State.STOPPING])
def test_a_version_enabled_again_does_not_wait_for_its_old_process(state: State) -> None:
    leaving = fleet(worker(state=state))

    assert reconcile(wanted(V1), leaving, 0.0, POLICY) == [Start("v1.2", spec())]


@pytest.mark.parametrize(
    "absent", [version("v2", enabled=False), version("v2", problem="no model files")]
)
def test_a_version_that_is_disabled_or_cannot_be_started_is_not(absent: WantedVersion) -> None:
    assert reconcile(wanted(V1, absent), fleet(worker()), 0.0, POLICY) == []


def test_default_version_starts_first_then_config_order() -> None:
    enough = replace(POLICY, start_slots=3)

    actions = reconcile(wanted(V1, V2, V3, default="v3"), fleet(), 0.0, enough)

    assert started(actions) == ["v3.1", "v1.1", "v2.1"]


@pytest.mark.parametrize(("slots", "expected"), [(1, ["v1.1"]), (2, ["v1.1", "v2.1"])])
def test_no_more_than_the_start_slots_start_at_once(slots: int, expected: list[str]) -> None:
    policy = replace(POLICY, start_slots=slots)

    _, actions = carry_on(wanted(V1, V2, V3), fleet(), policy=policy)

    assert started(actions) == expected


def test_a_start_slot_is_free_again_when_a_start_has_settled() -> None:
    loading, _ = carry_on(wanted(V1, V2), fleet(), policy=ONE_SLOT)

    ready = apply(loading, BecameReady("v1.1", {}), 5.0, ONE_SLOT)

    assert started(reconcile(wanted(V1, V2), ready, 5.0, ONE_SLOT)) == ["v2.1"]


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "now", "is_started"),
    [
        (failure(retry_at=10.0), 9.9, False),
        (failure(retry_at=10.0), 10.0, True),
        (failure(retry_at=None), 1e9, False),
        (failure(files="before", retry_at=None), 0.0, True),
    ],
    ids=["backoff", "backoff over", "failed", "spec changed"],
)
def test_failed_and_backoff_end_when_due_or_when_the_spec_changed(
    failed: Failure, now: float, is_started: bool
) -> None:
    actions = reconcile(wanted(V1), fleet(failures=(failed,)), now, POLICY)

    assert bool(started(actions)) is is_started


def test_a_reset_starts_a_failed_version_at_once() -> None:
    forgiven = apply(fleet(failures=(failure(),)), WasReset("v1"), 1.0, POLICY)

    assert started(reconcile(wanted(V1), forgiven, 1.0, POLICY)) == ["v1.1"]


def test_a_failed_version_that_was_disabled_for_a_while_is_tried_again() -> None:
    disabled = forget(wanted(version(enabled=False)), fleet(failures=(failure(),)))

    assert started(reconcile(wanted(V1), disabled, 1.0, POLICY)) == ["v1.1"]


def test_failed_never_blocks_other_versions() -> None:
    broken = fleet(failures=(failure(), failure("v2", retry_at=50.0)))

    actions = reconcile(wanted(V1, V2, V3), broken, 0.0, ONE_SLOT)

    assert started(actions) == ["v3.1"]


def test_a_first_try_goes_before_the_retries_of_others() -> None:
    crashing = fleet(worker(), failures=(failure("v2", retry_at=5.0),))

    actions = reconcile(wanted(V1, V2, V3), crashing, 9.0, ONE_SLOT)

    assert started(actions) == ["v3.1"]


def test_a_failing_process_is_gone_before_the_next_try() -> None:
    hung, _ = carry_on(wanted(V1), fleet(worker()), now=5.0)
    assert states(hung) == {"v1.1": State.STOPPING}

    gone = apply(hung, Exited("v1.1", -9, "killed by SIGKILL"), 6.0, POLICY)

    assert started(reconcile(wanted(V1), gone, 6.0, POLICY)) == []
    assert started(reconcile(wanted(V1), gone, 7.0, POLICY)) == ["v1.2"]
