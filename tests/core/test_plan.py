from __future__ import annotations

import pytest

from rerank_server.core.plan import Plan, plan, verdict
from rerank_server.core.types import Fleet, State
from rerank_server.core.wanted import NOTHING, Wanted
from tests.core.build import failure, fleet, version, wanted, worker

V1, V2, OFF = version(), version("v2"), version("v2", enabled=False)
BROKEN = version("v2", problem="no model files")


@pytest.mark.parametrize(
    ("new", "now_fleet", "expected"),
    [
        (wanted(V1), fleet(), Plan(("v1",), (), ())),
        (wanted(V1), fleet(worker()), Plan((), (), ("v1",))),
        (wanted(V1), fleet(worker(state=State.STARTING)), Plan((), (), ("v1",))),
        (wanted(V1), fleet(worker(state=State.DRAINING)), Plan(("v1",), (), ())),
        (wanted(version(files="b")), fleet(worker()), Plan(("v1",), (), ())),
        (wanted(V1), fleet(failures=(failure(),)), Plan(("v1",), (), ())),
        (wanted(V1, OFF), fleet(worker(), worker("v2")), Plan((), ("v2",), ("v1",))),
        (wanted(V1), fleet(worker(), worker("v2")), Plan((), ("v2",), ("v1",))),
        (wanted(V1), fleet(worker(), worker("v2", State.STARTING)), Plan((), ("v2",), ("v1",))),
        (wanted(V1), fleet(worker(), worker("v2", State.DRAINING)), Plan((), (), ("v1",))),
        (wanted(V1, OFF), fleet(worker()), Plan((), (), ("v1",))),
        (wanted(V1, BROKEN), fleet(worker(), worker("v2")), Plan((), (), ("v1", "v2"))),
        (wanted(V1, BROKEN), fleet(worker()), Plan((), (), ("v1",))),
        (wanted(V2, V1), fleet(worker("v3")), Plan(("v2", "v1"), ("v3",), ())),
        (NOTHING, fleet(worker()), Plan((), ("v1",), ())),
    ],
    ids=[
        "boot",
        "runs already",
        "starts already",
        "is leaving",
        "spec changed",
        "failed before",
        "disabled",
        "taken out",
        "taken out while it starts",
        "already leaving",
        "disabled and not there",
        "files gone while it runs",
        "files gone",
        "config order",
        "shutdown",
    ],
)
def test_the_plan_says_what_is_started_stopped_and_kept(
    new: Wanted, now_fleet: Fleet, expected: Plan
) -> None:
    assert plan(new, now_fleet) == expected


@pytest.mark.parametrize(
    ("now_wanted", "now_fleet"),
    [
        (wanted(V1, V2), fleet(worker())),
        (wanted(V1), fleet(worker(state=State.STARTING))),
        (wanted(V1, OFF), fleet(worker(), worker("v2", State.DRAINING))),
        (wanted(V1), fleet(worker(), worker(state=State.STOPPING, files="old", number=2))),
    ],
    ids=["one waits", "one starts", "one drains", "the old one stops"],
)
def test_there_is_no_verdict_while_something_is_under_way(
    now_wanted: Wanted, now_fleet: Fleet
) -> None:
    assert verdict(now_wanted, now_fleet) is None


@pytest.mark.parametrize(
    ("now_wanted", "now_fleet", "reasons"),
    [
        (wanted(V1, OFF), fleet(worker()), {}),
        (wanted(V1), fleet(worker(), failures=(failure(retry_at=9.0),)), {}),
        (wanted(V1), fleet(failures=(failure(retry_at=9.0),)), {"v1": "bad weights"}),
        (wanted(V1, BROKEN), fleet(worker()), {"v2": "no model files"}),
        (wanted(V1, BROKEN), fleet(worker(), worker("v2")), {"v2": "no model files"}),
        (
            wanted(version(files="b")),
            fleet(worker(), failures=(failure(files="b"),)),
            {"v1": "bad weights"},
        ),
        (
            wanted(V2, version(enabled=False)),
            fleet(worker(), failures=(failure("v2"),)),
            {"v2": "bad weights"},
        ),
    ],
    ids=[
        "all run",
        "runs after a failure",
        "failed",
        "cannot be started",
        "cannot be started while the old one runs",
        "the old one is kept",
        "the old default is kept",
    ],
)
def test_the_verdict_has_the_reason_of_each_version_that_does_not_run(
    now_wanted: Wanted, now_fleet: Fleet, reasons: dict[str, str]
) -> None:
    found = verdict(now_wanted, now_fleet)

    assert found is not None
    assert found.reasons == reasons
    assert found.word == ("failed" if reasons else "applied")
