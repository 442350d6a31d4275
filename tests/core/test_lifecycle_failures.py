"""How long failures are remembered, and what they make a version wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.lifecycle import apply, forget, issue, next_id
from rerank_server.core.types import Beaten, Exited, Fleet, Kill, Start, WasReset
from rerank_server.core.wanted import Wanted
from tests.core.build import failure, fleet, spec, version, wanted, worker
from tests.core.failures import POLICY, failure_of, is_waiting


def crash(fleet: Fleet, at: float) -> Fleet:
    """Start v1 anew and let it crash at once."""
    slot = fleet.slot("v1")
    started = issue(fleet, Start(next_id(slot), spec()), at)
    return apply(started, Exited(next_id(slot), -11, "killed by SIGSEGV"), at, POLICY)


def test_backoff_doubles_from_failure_to_failure() -> None:
    policy = replace(POLICY, failure_limit=100, backoff_base_s=1.0, backoff_cap_s=60.0)
    after, waits = fleet(), []
    for _ in range(8):
        slot = after.slot("v1")
        after = issue(after, Start(next_id(slot), spec()), 10.0)
        after = apply(after, Exited(next_id(slot), -11, "crash"), 10.0, policy)
        waits.append((failure_of(after).retry_at or 0.0) - 10.0)

    assert failure_of(after).attempt == 8
    expected = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert all(0.75 * e <= wait <= e for wait, e in zip(waits, expected, strict=True))


def test_too_many_failures_in_a_window_make_a_version_failed() -> None:
    after = crash(crash(fleet(), 0.0), 10.0)
    assert is_waiting(after, 10.0)

    after = crash(after, 20.0)

    assert failure_of(after).retry_at is None
    assert failure_of(after).reason == "failed 3 times in 600 s; last: killed by SIGSEGV"


def test_failures_before_the_window_are_not_counted() -> None:
    after = crash(crash(fleet(), 0.0), 500.0)

    after = crash(after, 600.0)

    assert is_waiting(after, 600.0)
    assert after.slot("v1").failed_at == (500.0, 600.0)


def ran_for(seconds: float) -> Fleet:
    """Return a fleet whose v1 failed twice before it ran well for so long."""
    before = crash(crash(fleet(), 0.0), 1.0)
    running = replace(worker(number=3, at=10.0), beat_at=10.0 + seconds)
    slot = replace(before.slot("v1"), instances=(running,), serial=3)
    return replace(before, slots={"v1": slot})


@pytest.mark.parametrize(("seconds", "attempt"), [(59.9, 3), (60.0, 1)])
def test_restart_counters_reset_only_after_a_stable_period(seconds: float, attempt: int) -> None:
    event = Exited("v1.3", -11, "killed by SIGSEGV")

    after = apply(ran_for(seconds), event, 10.0 + seconds, POLICY)

    assert failure_of(after).attempt == attempt
    assert is_waiting(after, 10.0 + seconds) is (attempt == 1)


def test_a_hang_after_a_stable_period_starts_counting_anew() -> None:
    hung = issue(ran_for(3600.0), Kill("v1.3", "hung", is_failure=True), 3615.0)

    after = apply(hung, Exited("v1.3", -9, "killed by SIGKILL"), 3616.0, POLICY)

    assert failure_of(after).attempt == 1


def test_a_batch_that_never_ends_is_no_stable_period() -> None:
    before = ran_for(3600.0)
    stuck = apply(before, Beaten("v1.3", 1, batch_started_at=12.0), 3600.0, POLICY)
    hung = issue(stuck, Kill("v1.3", "hung", is_failure=True), 3615.0)

    after = apply(hung, Exited("v1.3", -9, "killed by SIGKILL"), 3616.0, POLICY)

    assert failure_of(after).attempt == 3


def test_another_spec_starts_counting_anew() -> None:
    before = crash(crash(fleet(), 0.0), 1.0)
    changed = issue(before, Start("v1.3", spec(files="b")), 2.0)

    after = apply(changed, Exited("v1.3", -11, "killed by SIGSEGV"), 3.0, POLICY)

    assert (failure_of(after).attempt, after.slot("v1").failed_at) == (1, (3.0,))


def test_a_crash_of_the_old_process_does_not_forgive_its_failed_successor() -> None:
    before = fleet(worker(files="old"), failures=(failure(files="new"),), failed_at=20.0)

    after = apply(before, Exited("v1.1", -11, "killed by SIGSEGV"), 30.0, POLICY)

    assert after.instances() == ()
    assert failure_of(after) == failure(files="new")


def test_a_process_started_when_its_predecessor_failed_is_counted() -> None:
    before = fleet(worker(files="new", at=20.0), failures=(failure(files="old"),), failed_at=20.0)

    after = apply(before, Exited("v1.1", -11, "killed by SIGSEGV"), 21.0, POLICY)

    assert failure_of(after).spec == spec(files="new")


def test_a_reset_forgives_a_failed_version() -> None:
    after = apply(crash(fleet(), 0.0), WasReset("v1"), 5.0, POLICY)

    assert after.slot("v1").failure is None
    assert after.slot("v1").failed_at == ()


@pytest.mark.parametrize(
    ("now_wanted", "is_kept"),
    [
        (wanted(version()), True),
        (wanted(version(files="repaired")), False),
        (wanted(version(enabled=False)), False),
        (wanted(version("v2")), False),
    ],
    ids=["as before", "spec changed", "disabled", "taken out"],
)
def test_a_failure_is_gone_when_the_spec_changed_or_is_no_longer_wanted(
    now_wanted: Wanted, is_kept: bool
) -> None:
    before = fleet(worker("v2"), failures=(failure(),))

    after = forget(now_wanted, before)

    assert (after.slot("v1").failure is not None) is is_kept
    assert (after.slot("v1").failed_at != ()) is is_kept
    assert after.instances() == before.instances()
