"""Cascades in the fleet: whether they serve, by which stages, and who has to stay for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.absence import absence_of, degraded_of
from rerank_server.core.cascade_state import staged
from rerank_server.core.front import Front, FrontSpec
from rerank_server.core.limits import Limits
from rerank_server.core.notice import summarize
from rerank_server.core.plan import Plan, plan, verdict
from rerank_server.core.publish import routes, version_state
from rerank_server.core.reconcile import reconcile
from rerank_server.core.routing import FallbackReason, RoutesTable
from rerank_server.core.served import is_lent, point, serves
from rerank_server.core.stats import VersionStats
from rerank_server.core.traffic import Stage
from rerank_server.core.types import Drain, Fleet, State
from rerank_server.core.wanted import NOTHING, Degraded, Wanted
from tests.core.build import POLICY, carry_on, failure, fleet, version, wanted, worker

STAGES = (Stage("v1", 20), Stage("v2"))
OTHERS = (Stage("v1", 20), Stage("v3"))
V1, V2, V3 = version("v1"), version("v2"), version("v3")
FAST = version("v2-fast", cascade=STAGES)
FAST_BY_V3 = version("v2-fast", cascade=OTHERS)
ASKED = wanted(FAST, V1, V2)
BOTH = fleet(worker("v1"), worker("v2"), default=None)


def entry(asked: Wanted, now_fleet: Fleet) -> dict[str, object]:
    """Return what state.json says of the cascade."""
    pointed = point(asked, now_fleet)
    plain = version_state(
        asked.versions["v2-fast"],
        pointed.slot("v2-fast"),
        VersionStats(),
        {},
        9.0,
        is_default=False,
    )
    return dict(staged(asked, pointed, plain, 9.0))


def table(asked: Wanted, now_fleet: Fleet) -> RoutesTable:
    return routes(asked, now_fleet, Limits(), 7, "/run/w")


def test_a_cascade_starts_no_process() -> None:
    _, actions = carry_on(ASKED, fleet(default=None))

    assert {action.instance for action in actions} == {"v1.1", "v2.1"}


def test_a_cascade_serves_once_every_stage_does() -> None:
    one = point(ASKED, fleet(worker("v1"), worker("v2", State.STARTING), default=None))
    both = point(ASKED, BOTH)

    assert not serves(one, "v2-fast")
    assert serves(both, "v2-fast")
    assert both.default == "v2-fast"
    assert table(ASKED, both).versions["v2-fast"].cascade == STAGES
    assert table(ASKED, both).versions["v2-fast"].targets == ()
    assert table(ASKED, both).versions["v2-fast"].absent is None


def test_the_default_route_waits_for_the_stages_of_a_new_default() -> None:
    before = fleet(worker("v1"), worker("v2", State.STARTING), default="v1")

    assert point(ASKED, before).default == "v1"


@pytest.mark.parametrize(
    ("now_fleet", "state", "reason", "absent"),
    [
        (BOTH, "RUNNING", None, None),
        (fleet(worker("v1")), "STARTING", "stage v2: STARTING", FallbackReason.STARTING),
        (
            fleet(worker("v2"), failures=(failure("v1"),)),
            "FAILED",
            "stage v1: FAILED: bad weights",
            FallbackReason.FAILED,
        ),
        (
            fleet(worker("v1"), failures=(failure("v2", retry_at=12.0, attempt=2),)),
            "BACKOFF",
            "stage v2: BACKOFF: bad weights",
            FallbackReason.BACKOFF,
        ),
        (
            fleet(failures=(failure("v1"), failure("v2"))),
            "FAILED",
            "stage v1: FAILED: bad weights",
            FallbackReason.FAILED,
        ),
    ],
)
def test_a_cascade_is_as_its_first_stage_that_does_not_run(
    now_fleet: Fleet, state: str, reason: str | None, absent: FallbackReason | None
) -> None:
    found = entry(ASKED, now_fleet)

    assert (found["state"], found["reason"]) == (state, reason)
    assert found["cascade"] == [{"version": "v1", "keep": 20}, {"version": "v2", "keep": None}]
    assert absence_of(ASKED, point(ASKED, now_fleet), FAST) == absent
    if state == "BACKOFF":
        assert (found["attempt"], found["retry_in_s"]) == (2, 3.0)


def test_a_disabled_cascade_is_disabled() -> None:
    off = replace(FAST, enabled=False)
    asked = wanted(V1, V2, off)

    assert entry(asked, BOTH)["state"] == "DISABLED"
    assert absence_of(asked, point(asked, BOTH), off) is FallbackReason.DISABLED
    assert table(asked, point(asked, BOTH)).versions["v2-fast"].cascade == ()


def test_a_plain_version_has_no_stages_in_its_entry() -> None:
    plain = version_state(V1, BOTH.slot("v1"), VersionStats(), {}, 9.0, is_default=False)

    assert staged(ASKED, BOTH, plain, 9.0) == plain


def test_a_cascade_is_degraded_with_its_stage() -> None:
    why = Degraded(FallbackReason.GPU_MEMORY, "gpu 0 is full")
    asked = wanted(FAST, V1, replace(V2, degraded=why))
    pointed = point(asked, BOTH)

    assert degraded_of(asked, pointed, FAST) == why
    assert entry(asked, BOTH)["degraded"] == "gpu 0 is full"
    assert table(asked, pointed).versions["v2-fast"].degraded is FallbackReason.GPU_MEMORY


# --- changes ------------------------------------------------------------------------------------


def test_a_changed_cascade_keeps_its_old_stages_until_the_new_ones_run() -> None:
    changed = wanted(FAST_BY_V3, V1, replace(V2, enabled=False, spec=None), V3)
    served = point(ASKED, BOTH)

    during = point(changed, served)
    starting, actions = carry_on(changed, during)

    assert during.cascades["v2-fast"] == STAGES
    assert is_lent(changed, during, "v2")
    assert [action.instance for action in actions] == ["v3.1"]
    assert entry(changed, during)["state"] == "RUNNING"
    ready = replace(starting, slots={**starting.slots, "v3": fleet(worker("v3")).slot("v3")})
    after = point(changed, ready)
    assert after.cascades["v2-fast"] == OTHERS
    assert reconcile(changed, after, 0.0, POLICY) == [Drain("v2.1", "no longer wanted")]


def test_a_new_stage_that_fails_leaves_the_old_ones_serving() -> None:
    changed = wanted(FAST_BY_V3, V1, replace(V2, enabled=False, spec=None), V3)
    served = point(ASKED, BOTH)
    failed = replace(
        served, slots={**served.slots, "v3": fleet(failures=(failure("v3"),)).slot("v3")}
    )

    after, actions = carry_on(changed, point(changed, failed))

    assert actions == []
    assert entry(changed, after)["reason"] == "still v1:20 > v2; stage v3: FAILED: bad weights"
    found = verdict(changed, after)
    assert found is not None
    assert found.word == "failed"
    assert serves(after, "v2-fast")


def test_a_default_cascade_taken_out_serves_until_the_new_default_runs() -> None:
    changed = wanted(V3)
    during = point(changed, point(ASKED, BOTH))

    _, actions = carry_on(changed, during)

    assert during.default == "v2-fast"
    assert [action.instance for action in actions] == ["v3.1"]
    shown = table(changed, during)
    assert {name: route.enabled for name, route in shown.versions.items()} == {
        "v3": True,
        "v2-fast": True,
        "v1": False,
        "v2": False,
    }
    assert [t.instance for t in shown.versions["v2"].targets] == ["v2.1"]


def test_once_the_new_default_runs_the_stages_go_at_once() -> None:
    changed = wanted(V3)
    served = point(ASKED, BOTH)
    ready = replace(served, slots={**served.slots, "v3": fleet(worker("v3")).slot("v3")})

    after = point(changed, ready)

    assert after.default == "v3"
    assert after.cascades == {}
    _, actions = carry_on(changed, after)
    assert [action.instance for action in actions] == ["v1.1", "v2.1"]


def test_a_version_that_becomes_a_cascade_serves_by_its_process_until_the_stages_run() -> None:
    was_plain = fleet(worker("v2-fast"), worker("v1"), default="v2-fast")

    during, actions = carry_on(ASKED, point(ASKED, was_plain))

    assert [action.instance for action in actions] == ["v2.1"]
    assert serves(during, "v2-fast")
    assert entry(ASKED, during)["reason"] == "still its own process; stage v2: STARTING"
    assert [t.instance for t in table(ASKED, during).versions["v2-fast"].targets] == ["v2-fast.1"]
    after = point(ASKED, fleet(worker("v2-fast"), worker("v1"), worker("v2"), default="v2-fast"))
    assert reconcile(ASKED, after, 0.0, POLICY) == [Drain("v2-fast.1", "replaced")]


def test_a_cascade_that_becomes_a_plain_version_serves_by_its_stages_until_it_runs() -> None:
    plain = wanted(version("v2-fast"), V1, V2)

    during = point(plain, point(ASKED, BOTH))

    assert during.cascades == {"v2-fast": STAGES}
    assert entry(plain, during)["reason"] == "still v1:20 > v2"
    running = fleet(worker("v2-fast"), worker("v1"), worker("v2"), default="v2-fast")
    assert point(plain, replace(running, cascades=during.cascades)).cascades == {}


def test_a_shutdown_is_held_up_by_no_cascade() -> None:
    _, actions = carry_on(NOTHING, point(ASKED, BOTH))

    assert [action.instance for action in actions] == ["v1.1", "v2.1"]


# --- reload and service manager -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "now_fleet", "expected"),
    [
        (ASKED, BOTH, Plan((), (), ("v1", "v2"))),
        (ASKED, fleet(), Plan(("v1", "v2"), (), ())),
        (ASKED, fleet(worker("v2-fast"), worker("v1")), Plan(("v2",), ("v2-fast",), ("v1",))),
    ],
)
def test_a_plan_is_about_the_stages_processes(
    asked: Wanted, now_fleet: Fleet, expected: Plan
) -> None:
    assert plan(asked, now_fleet) == expected


def test_a_reload_with_a_cascade_is_applied_once_its_stages_are() -> None:
    assert verdict(ASKED, point(ASKED, fleet(worker("v1")))) is None
    applied = verdict(ASKED, point(ASKED, BOTH))
    assert applied is not None
    assert applied.word == "applied"


def test_a_default_cascade_counts_as_a_version_that_runs() -> None:
    pointed = point(ASKED, BOTH)

    found = summarize(
        ASKED,
        pointed,
        FrontSpec("127.0.0.1", 8000, 1, "console", "info"),
        Front(),
        bells=0,
        is_config_refused=False,
        is_stopping=False,
        stop_timeout_s=1.0,
    )

    assert (found.enabled, found.running, found.default_runs) == (3, 3, True)


def test_the_stages_of_a_default_cascade_start_first() -> None:
    asked = wanted(version("v9"), V1, V2, FAST, default="v2-fast")

    _, actions = carry_on(asked, fleet(default=None))

    assert [action.instance for action in actions] == ["v1.1", "v2.1"]
    assert asked.is_default("v2")
    assert not asked.is_default("v9")
