"""What a fleet comes to in a summary."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.front import Front, FrontInstance, FrontSpec, FrontState
from rerank_server.core.notice import Loading, Summary, Trouble, summarize
from rerank_server.core.types import Fleet, State
from rerank_server.core.wanted import Wanted
from tests.core.build import failure, fleet, version, wanted, worker

FRONT = FrontSpec("127.0.0.1", 8000, 1, "console", "info")
SERVING = Front((FrontInstance(1, FRONT, FrontState.RUNNING, 0.0),))
BOOTING = Front((FrontInstance(1, FRONT, FrontState.STARTING, 0.0),))
V1, V2 = version(), version("v2")
BROKEN = version("v2", problem="no model files")


def of(want: Wanted, now_fleet: Fleet, front: Front = SERVING) -> Summary:
    return summarize(
        want,
        now_fleet,
        FRONT,
        front,
        bells=0,
        is_config_refused=False,
        is_stopping=False,
        stop_timeout_s=90.0,
    )


@pytest.mark.parametrize(
    ("want", "now_fleet", "front", "ready", "settled"),
    [
        (wanted(V1, V2), fleet(worker(), worker("v2")), SERVING, True, True),
        (wanted(V1, V2), fleet(worker(), worker("v2", State.STARTING)), SERVING, True, False),
        (wanted(V1, V2), fleet(worker(state=State.STARTING), worker("v2")), SERVING, False, False),
        (wanted(V1, V2), fleet(worker()), SERVING, True, False),
        (wanted(V1, BROKEN), fleet(worker()), SERVING, True, True),
        (wanted(V2, V1), fleet(worker(), failures=(failure("v2"),)), SERVING, True, True),
        (wanted(V1), fleet(failures=(failure(),)), SERVING, True, True),
        (wanted(V1), fleet(worker()), BOOTING, False, False),
        (wanted(V1), fleet(worker()), Front(reason="exited"), False, True),
        (wanted(V1), fleet(worker()), replace(SERVING, reason="exited"), True, True),
    ],
    ids=[
        "all run",
        "another one loads",
        "the default loads",
        "another one waits for its turn",
        "another one cannot run",
        "the default failed, the last one serves",
        "all failed",
        "the gateway boots",
        "the gateway cannot boot",
        "the gateway was replaced",
    ],
)
def test_ready_means_the_default_serves_or_waiting_longer_is_no_use(
    want: Wanted, now_fleet: Fleet, front: Front, ready: bool, settled: bool
) -> None:
    summary = of(want, now_fleet, front)

    assert (summary.is_ready, summary.is_settled) == (ready, settled)


def test_a_summary_counts_what_runs_and_names_what_loads_and_what_does_not() -> None:
    want = wanted(V1, V2, version("v3"), version("v4", problem="no model files"))
    off = version("v5", enabled=False)
    want = replace(want, versions={**want.versions, "v5": off})
    now_fleet = fleet(
        worker(), worker("v2", State.STARTING, at=7.0), failures=(failure("v3", reason="killed"),)
    )

    summary = of(want, now_fleet)

    assert (summary.running, summary.enabled) == (1, 4)
    assert summary.loading == (Loading("v2", 7.0),)
    assert summary.troubles == (Trouble("v3", "killed"), Trouble("v4", "no model files"))
    assert summary.workers_left == 2


def test_a_failure_of_other_files_is_no_trouble_of_these() -> None:
    summary = of(wanted(V1), fleet(failures=(failure(files="old"),)))

    assert summary.troubles == ()


def test_a_default_that_is_not_chosen_yet_is_the_configured_one() -> None:
    summary = of(wanted(V1), fleet(default=None))

    assert (summary.default, summary.default_runs) == ("v1", False)
