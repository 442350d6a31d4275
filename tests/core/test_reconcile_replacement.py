"""How a running version is replaced by its next spec."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.lifecycle import apply
from rerank_server.core.reconcile import reconcile
from rerank_server.core.types import BecameReady, Drain, Exited, Fleet, Kill, Start, State
from rerank_server.core.wanted import Wanted
from tests.core.build import (
    ONE_SLOT,
    POLICY,
    carry_on,
    drained,
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


def test_the_new_instance_is_running_before_the_old_drains() -> None:
    changed = wanted(version(files="b"))

    loading, actions = carry_on(changed, fleet(worker()))
    assert (started(actions), drained(actions)) == (["v1.2"], [])
    assert states(loading) == {"v1.1": State.RUNNING, "v1.2": State.STARTING}
    ready = apply(loading, BecameReady("v1.2", {}), 4.0, POLICY)

    assert reconcile(changed, ready, 4.0, POLICY) == [Drain("v1.1", "replaced")]


@pytest.mark.parametrize("code", [3, -11], ids=["would fail again", "crash"])
def test_if_the_new_one_fails_the_old_keeps_serving(code: int) -> None:
    changed = wanted(version(files="b"))
    loading, _ = carry_on(changed, fleet(worker()))

    failed = apply(loading, Exited("v1.2", code, "no"), 1.0, POLICY)
    after, actions = carry_on(changed, failed, now=1.0)

    assert actions == []
    assert states(after) == {"v1.1": State.RUNNING}


def test_a_running_version_whose_files_are_gone_keeps_serving() -> None:
    unusable = wanted(version(problem="no model files"), V2)
    serving = fleet(worker(), worker("v2"))

    assert reconcile(unusable, serving, 1.0, POLICY) == []


def test_unchanged_versions_keep_pid_and_start_time() -> None:
    before = fleet(worker(), worker("v2"))
    changed = wanted(V1, version("v2", files="b"), V3, last_resort="v1")

    after, _ = carry_on(changed, before, now=1.0)

    assert after.find("v1.1") == before.find("v1.1")


def test_a_config_that_asks_for_the_same_changes_nothing() -> None:
    serving = fleet(worker(), worker("v2"))

    after, actions = carry_on(replace(wanted(V1, V2), generation=99), serving, now=1.0)

    assert (actions, after) == ([], serving)


def test_a_change_of_default_endpoint_or_fallback_starts_and_stops_nothing() -> None:
    other = replace(V2, endpoint="/else", description="new", fallback="none", max_batch_s=1.0)

    actions = reconcile(wanted(V1, other, default="v2"), fleet(worker(), worker("v2")), 1.0, POLICY)

    assert actions == []


def test_of_several_reloads_the_last_one_wins() -> None:
    loading, _ = carry_on(wanted(version(files="b")), fleet(worker()))

    ending, actions = carry_on(wanted(version(files="c")), loading)
    assert actions == [Kill("v1.2", "no longer wanted", is_failure=False)]
    gone = apply(ending, Exited("v1.2", -9, "killed by SIGKILL"), 0.0, POLICY)
    after, actions = carry_on(wanted(version(files="c")), gone)

    assert actions == [Start("v1.3", spec(files="c"))]
    assert states(after) == {"v1.1": State.RUNNING, "v1.3": State.STARTING}


def test_a_reload_taken_back_while_it_loads_leaves_the_old_process_alone() -> None:
    loading, _ = carry_on(wanted(version(files="b")), fleet(worker()))

    after, actions = carry_on(wanted(V1), loading)

    assert actions == [Kill("v1.2", "no longer wanted", is_failure=False)]
    assert states(after) == {"v1.1": State.RUNNING, "v1.2": State.STOPPING}


def test_threads_are_part_of_the_spec_only_when_written() -> None:
    unwritten, written = spec(), replace(spec(), threads=2)

    assert unwritten == spec()
    changed = wanted(replace(V1, spec=written))
    assert reconcile(changed, fleet(worker()), 0.0, POLICY) == [Start("v1.2", written)]


def all_changed(*names: str, stop_first: str = "") -> Wanted:
    """Return what a change of global_config asks for: another spec for every version."""
    first = stop_first.split()
    return wanted(
        *(
            version(name, files="b", mode="stop_first" if name in first else "auto")
            for name in names
        )
    )


def roll_out(changed: Wanted, before: Fleet) -> list[dict[str, State]]:
    """Let everything come out well, one event at a time; return each state on the way."""
    seen = []
    now_fleet = before
    for _ in range(50):
        now_fleet, _ = carry_on(changed, now_fleet)
        seen.append(dict(states(now_fleet)))
        moving = [i for i in now_fleet.instances() if i.state is not State.RUNNING]
        if not moving:
            return seen
        first = moving[0]
        event = (
            BecameReady(first.id, {})
            if first.state is State.STARTING
            else Exited(first.id, 0, "done")
        )
        now_fleet = apply(now_fleet, event, 0.0, POLICY)
    raise AssertionError("does not come to an end")


@pytest.mark.parametrize("stop_first", ["", "v2", "v1 v2", "v1 v2 v3"])
def test_a_change_of_global_config_replaces_one_version_after_another(stop_first: str) -> None:
    before = fleet(worker(), worker("v2"), worker("v3"))

    seen = roll_out(all_changed("v1", "v2", "v3", stop_first=stop_first), before)

    for at_once in seen:
        whole = {"v1", "v2", "v3"} - {
            name.partition(".")[0] for name, state in at_once.items() if state is not State.RUNNING
        }
        running = {name.partition(".")[0] for name, s in at_once.items() if s is State.RUNNING}
        assert len(whole) >= 2, at_once
        assert len(running) >= 2, at_once
    assert seen[-1] == {"v1.2": State.RUNNING, "v2.2": State.RUNNING, "v3.2": State.RUNNING}


def test_a_first_start_does_not_hold_back_a_replacement() -> None:
    changed = wanted(version(files="b"), V2)

    actions = reconcile(changed, fleet(worker(), worker("v2", State.STARTING)), 0.0, POLICY)

    assert started(actions) == ["v1.2"]


def test_stop_first_drains_the_old_one_and_then_starts_the_new_one() -> None:
    changed = wanted(version(files="b", mode="stop_first"))

    draining, actions = carry_on(changed, fleet(worker()))
    assert actions == [Drain("v1.1", "replaced")]
    gone = apply(draining, Exited("v1.1", 0, "exited with code 0"), 1.0, POLICY)

    assert reconcile(changed, gone, 1.0, POLICY) == [Start("v1.2", spec(files="b"))]


@pytest.mark.parametrize(
    "others",
    [
        fleet(worker(), worker("v2", State.STARTING)),
        fleet(worker()),
        fleet(worker(), worker("v2"), worker("v2", State.DRAINING, files="older", number=2)),
        fleet(worker(), worker("v2", State.STARTING), failures=(failure("v2", retry_at=0.0),)),
    ],
    ids=["one still loads", "one waits to load", "one is being replaced", "one tries again"],
)
def test_stop_first_waits_until_its_successor_could_start_at_once(others: Fleet) -> None:
    changed = wanted(version(files="b", mode="stop_first"), V2)

    assert drained(reconcile(changed, others, 0.0, ONE_SLOT)) == []


def test_stop_first_does_not_touch_the_old_one_once_the_new_one_has_failed() -> None:
    changed = wanted(version(files="b", mode="stop_first"))
    failed = fleet(worker(), failures=(failure(files="b", retry_at=5.0),))

    assert reconcile(changed, failed, 6.0, replace(POLICY, beat_timeout_s=60.0)) == []
