"""What is said of the processes that stay for a cascade whose new stages do not run."""

from __future__ import annotations

from dataclasses import replace

from rerank_server.core import status
from rerank_server.core.cascade_state import lent, staged
from rerank_server.core.plan import Plan, carried_out, plan
from rerank_server.core.publish import version_state
from rerank_server.core.served import point
from rerank_server.core.snapshot import read
from rerank_server.core.stats import VersionStats
from rerank_server.core.traffic import Stage
from rerank_server.core.wanted import NOTHING
from tests.core.build import carry_on, failure, fleet, version, wanted, worker
from tests.core.state_json import instance, state
from tests.core.state_json import version as entry_of

V1, V2, V3 = version("v1"), version("v2"), version("v3")
ASKED = wanted(version("v2-fast", cascade=(Stage("v1", 20), Stage("v2"))), V1, V2)
FAST_BY_V3 = version("v2-fast", cascade=(Stage("v1", 20), Stage("v3")))
BOTH = fleet(worker("v1"), worker("v2"), default=None)


def test_a_stage_that_had_to_stay_was_not_stopped() -> None:
    changed = wanted(FAST_BY_V3, V1, V3)
    served = point(ASKED, BOTH)
    planned = plan(changed, served)
    failed = replace(
        served, slots={**served.slots, "v3": fleet(failures=(failure("v3"),)).slot("v3")}
    )

    after, _ = carry_on(changed, point(changed, failed))

    assert planned == Plan(("v3",), ("v2",), ("v1",))
    assert carried_out(planned, after) == Plan(("v3",), (), ("v1", "v2"))
    gone = replace(after, slots={"v1": after.slot("v1")})
    assert carried_out(planned, gone) == planned


def test_a_stage_taken_out_of_the_config_is_shown_while_a_cascade_answers_by_it() -> None:
    changed = wanted(FAST_BY_V3, V1, V3)
    during = point(changed, point(ASKED, BOTH))

    (shown,) = lent(changed, during)

    slot = during.slot("v2")
    plain = version_state(shown, slot, VersionStats(), {}, 9.0, is_default=False)
    found = staged(changed, during, plain, 9.0)
    said = "no longer configured; v2-fast still answers by it"
    assert (found["name"], found["state"], found["reason"]) == ("v2", "RUNNING", said)
    assert (found["enabled"], found["configured"]) == (False, False)
    assert lent(ASKED, point(ASKED, BOTH)) == []
    assert lent(NOTHING, during) == []


def test_a_version_that_is_not_configured_any_more_is_shown_with_the_reason() -> None:
    entry = entry_of("v1", "RUNNING", instance("v1", 1, 1234), reason="no longer configured")

    (shown,) = read(state(entry | {"configured": False})).versions

    assert status.line(shown) == "v1: RUNNING (PID: 1234, CPU; no longer configured)"
