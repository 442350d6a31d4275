from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.lifecycle import apply, forget, issue
from rerank_server.core.reconcile import (
    is_settled,
    next_deadline,
    reconcile,
    runs,
    serving_or_coming,
)
from rerank_server.core.served import point_default
from rerank_server.core.types import (
    Action,
    BecameReady,
    Drain,
    Exited,
    Failure,
    Fleet,
    Instance,
    Kill,
    Start,
    State,
    Stop,
    WasReset,
)
from rerank_server.core.wanted import NOTHING, Wanted, WantedVersion
from tests.core.build import (
    POLICY,
    carry_on,
    failure,
    fleet,
    spec,
    states,
    version,
    wanted,
    worker,
)

ONE_SLOT = replace(POLICY, start_slots=1)
V1, V2, V3 = version(), version("v2"), version("v3")


def started(actions: list[Action]) -> list[str]:
    return [a.instance for a in actions if isinstance(a, Start)]


def drained(actions: list[Action]) -> list[str]:
    return [a.instance for a in actions if isinstance(a, Drain)]


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


# --- replacement --------------------------------------------------------------------------------


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


# --- no longer wanted, and the default route ----------------------------------------------------


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


# --- deadlines ----------------------------------------------------------------------------------


def draining(*, is_drained: bool) -> Instance:
    return replace(worker(state=State.DRAINING), is_drained=is_drained)


def test_a_start_that_takes_too_long_is_killed_and_counts() -> None:
    starting = fleet(worker(state=State.STARTING))

    assert reconcile(wanted(V1), starting, 29.9, POLICY) == []
    assert reconcile(wanted(V1), starting, 30.0, POLICY) == [
        Kill("v1.1", "not ready within 30 s", is_failure=True)
    ]


def test_in_starting_only_the_start_deadline_counts() -> None:
    silent = replace(worker(state=State.STARTING), batch_started_at=0.0)

    assert reconcile(wanted(V1), fleet(silent), 29.0, POLICY) == []


def test_a_lost_beat_is_a_hang() -> None:
    assert reconcile(wanted(V1), fleet(worker()), 4.9, POLICY) == []
    assert reconcile(wanted(V1), fleet(worker()), 5.0, POLICY) == [
        Kill("v1.1", "hung: no sign of life for 5 s", is_failure=True)
    ]


@pytest.mark.parametrize(("now", "is_killed"), [(19.9, False), (20.0, True)])
def test_a_batch_without_end_is_another_hang(now: float, is_killed: bool) -> None:
    busy = replace(worker(), beat_at=now, batch_started_at=0.0)

    actions = reconcile(wanted(V1), fleet(busy), now, POLICY)

    kill = Kill("v1.1", "hung: one batch ran longer than 20 s", is_failure=True)
    assert actions == ([kill] if is_killed else [])


def test_a_hung_worker_of_a_version_taken_out_is_killed_after_the_usual_limit() -> None:
    busy = replace(worker(), beat_at=120.0, batch_started_at=0.0)

    actions = reconcile(wanted(V2, default="v2"), fleet(busy), 120.0, POLICY)

    assert actions[0] == Kill("v1.1", "hung: one batch ran longer than 120 s", is_failure=True)


def test_a_worker_still_starting_of_a_version_taken_out_is_killed_without_blame() -> None:
    actions = reconcile(wanted(V2), fleet(worker(state=State.STARTING)), 1.0, ONE_SLOT)

    assert actions == [Kill("v1.1", "no longer wanted", is_failure=False)]


def test_nothing_in_flight_ends_a_drain() -> None:
    leaving = fleet(worker("v2"), draining(is_drained=True))

    assert reconcile(wanted(V2), leaving, 0.0, POLICY) == [Stop("v1.1")]


def test_the_drain_deadline_ends_a_drain() -> None:
    patient = replace(POLICY, beat_timeout_s=1000.0)
    leaving = fleet(worker("v2"), draining(is_drained=False))

    assert reconcile(wanted(V2), leaving, 64.9, patient) == []
    assert reconcile(wanted(V2), leaving, 65.0, patient) == [Stop("v1.1")]


def test_a_worker_that_hangs_while_it_drains_is_killed_without_blame() -> None:
    leaving = fleet(draining(is_drained=False))

    assert reconcile(NOTHING, leaving, 5.0, POLICY) == [
        Kill("v1.1", "hung: no sign of life for 5 s", is_failure=False)
    ]


def test_a_worker_that_does_not_exit_is_killed_after_the_grace_time() -> None:
    stopping = fleet(worker(state=State.STOPPING))

    assert reconcile(NOTHING, stopping, 9.9, POLICY) == []
    assert reconcile(NOTHING, stopping, 10.0, POLICY) == [
        Kill("v1.1", "did not exit when told to", is_failure=False)
    ]


def test_a_killed_worker_is_killed_once() -> None:
    killed = issue(fleet(worker()), Kill("v1.1", "hung", is_failure=True), 5.0)

    assert reconcile(wanted(V1), killed, 1e6, POLICY) == []


def test_each_process_gets_at_most_one_action_at_a_time() -> None:
    late = fleet(worker(state=State.STARTING, files="old"))

    actions = reconcile(wanted(V1), late, 1e6, ONE_SLOT)

    assert actions == [Kill("v1.1", "not ready within 30 s", is_failure=True)]


@pytest.mark.parametrize(
    ("at_rest", "deadline"),
    [
        (fleet(), None),
        (fleet(worker(state=State.STARTING)), 30.0),
        (fleet(worker()), 5.0),
        (fleet(replace(worker(), beat_at=18.0, batch_started_at=0.0)), 20.0),
        (fleet(replace(worker(state=State.DRAINING), beat_at=100.0)), 65.0),
        (fleet(worker(state=State.STOPPING)), 10.0),
        (fleet(replace(worker(state=State.STOPPING), is_killed=True)), None),
        (fleet(failures=(failure(retry_at=7.0),)), 7.0),
        (fleet(failures=(failure(retry_at=None),)), None),
        (fleet(worker(), failures=(failure(retry_at=1.0),)), 5.0),
        (fleet(worker(), failures=(failure("v9", retry_at=1.0),)), 5.0),
    ],
    ids=[
        "nothing",
        "start",
        "beat",
        "batch",
        "drain",
        "grace",
        "killed",
        "backoff",
        "failed",
        "backoff of one that runs again",
        "backoff of one taken out",
    ],
)
def test_the_loop_sleeps_until_the_next_deadline(at_rest: Fleet, deadline: float | None) -> None:
    asked = wanted(V1) if at_rest.slots else NOTHING

    assert next_deadline(asked, at_rest, POLICY) == deadline


def test_the_loop_does_not_wake_for_a_retry_that_has_to_wait_for_a_slot() -> None:
    full = fleet(worker(state=State.STARTING), failures=(failure("v2", retry_at=1.0),))

    assert next_deadline(wanted(V1, V2), full, ONE_SLOT) == 30.0


# --- what a settled version is ------------------------------------------------------------------


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
