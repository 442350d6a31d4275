"""What systemd and a person are told, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.notice import (
    EXTEND_EVERY_S,
    Loading,
    Phase,
    Said,
    Summary,
    Trouble,
    notices,
    status,
)

NOW = 1000.0
RUNS = Summary(
    enabled=3,
    running=3,
    default="v2-m3",
    default_wanted="v2-m3",
    default_runs=True,
    gateway_serves=True,
    is_settled=True,
    stop_timeout_s=90.0,
)
LOADS = replace(
    RUNS,
    running=1,
    default_runs=False,
    is_settled=False,
    loading=(Loading("v2-m3", NOW - 12.7),),
)
STOPS = replace(RUNS, is_stopping=True, workers_left=3, is_gateway_left=True)


def said(summary: Summary, phase: Phase = Phase.READY, *, extended_s_ago: float = 0.0) -> Said:
    return Said(phase, summary.bells, summary, extended_at=NOW - extended_s_ago)


# --- the line a person reads --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (RUNS, "3 of 3 versions run; default v2-m3"),
        (LOADS, "loading v2-m3 (12 s), 1 of 3 run"),
        (
            replace(LOADS, running=0, loading=(*LOADS.loading, Loading("v1", NOW - 61))),
            "loading v2-m3 (12 s), v1 (1 min 1 s), 0 of 3 run",
        ),
        (
            replace(LOADS, running=2, default="v1", default_runs=True),
            "loading v2-m3 (12 s), 2 of 3 run; default v1, not v2-m3 as configured",
        ),
        (
            replace(RUNS, enabled=1, running=1),
            "1 of 1 version runs; default v2-m3",
        ),
        (
            replace(
                RUNS,
                running=1,
                default_runs=False,
                troubles=(Trouble("v2-m3", "no model files\nTraceback"), Trouble("v1", "killed")),
            ),
            "1 of 3 versions run; default v2-m3 does not run; v2-m3: no model files; "
            "in trouble, too: v1",
        ),
        (
            replace(RUNS, gateway_serves=False),
            "3 of 3 versions run; default v2-m3; the gateway does not serve",
        ),
        (
            replace(RUNS, is_config_refused=True),
            "3 of 3 versions run; default v2-m3; the config as it is now was refused",
        ),
        (STOPS, "stopping: requests in flight are being answered"),
        (replace(STOPS, is_gateway_left=False), "stopping: workers left: 3"),
    ],
    ids=[
        "all run",
        "one loads",
        "two load",
        "an older default serves meanwhile",
        "one version",
        "trouble",
        "no gateway",
        "config refused",
        "stopping",
        "workers go",
    ],
)
def test_the_status_line_says_what_a_person_wants_to_know(summary: Summary, expected: str) -> None:
    assert status(summary, NOW) == expected


# --- what is sent, and when ---------------------------------------------------------------------


STATUS_RUNS = "STATUS=3 of 3 versions run; default v2-m3"
STATUS_LOADS = "STATUS=loading v2-m3 (12 s), 1 of 3 run"
EXTEND = "EXTEND_TIMEOUT_USEC=30000000"
RELOADING = "RELOADING=1\nMONOTONIC_USEC=1000000000"


@pytest.mark.parametrize(
    ("summary", "before", "expected", "phase"),
    [
        (LOADS, Said(), [f"{EXTEND}\n{STATUS_LOADS}"], Phase.LOADING),
        (LOADS, said(LOADS, Phase.LOADING), [], Phase.LOADING),
        (
            LOADS,
            said(LOADS, Phase.LOADING, extended_s_ago=EXTEND_EVERY_S),
            [f"{EXTEND}\n{STATUS_LOADS}"],
            Phase.LOADING,
        ),
        (
            replace(LOADS, running=2),
            said(LOADS, Phase.LOADING),
            ["STATUS=loading v2-m3 (12 s), 2 of 3 run"],
            Phase.LOADING,
        ),
        (
            replace(RUNS, gateway_serves=False),
            Said(),
            ["STATUS=3 of 3 versions run; default v2-m3; the gateway does not serve"],
            Phase.LOADING,
        ),
        (RUNS, said(LOADS, Phase.LOADING), [f"READY=1\n{STATUS_RUNS}"], Phase.READY),
        (
            replace(RUNS, running=2, is_settled=False),
            said(LOADS, Phase.LOADING),
            ["READY=1\nSTATUS=2 of 3 versions run; default v2-m3"],
            Phase.READY,
        ),
        (
            replace(RUNS, running=1, default_runs=False),
            said(LOADS, Phase.LOADING),
            ["READY=1\nSTATUS=1 of 3 versions run; default v2-m3 does not run"],
            Phase.READY,
        ),
        (RUNS, said(RUNS), [], Phase.READY),
        (replace(LOADS, bells=0), said(RUNS), [STATUS_LOADS], Phase.READY),
        (
            replace(RUNS, bells=1),
            said(RUNS),
            [RELOADING, f"READY=1\n{STATUS_RUNS}"],
            Phase.READY,
        ),
        (
            replace(LOADS, bells=1),
            said(RUNS, extended_s_ago=99),
            [f"{RELOADING}\n{EXTEND}\n{STATUS_LOADS}"],
            Phase.RELOADING,
        ),
        (
            replace(LOADS, bells=2),
            said(replace(LOADS, bells=1), Phase.RELOADING),
            [f"{RELOADING}\n{STATUS_LOADS}"],
            Phase.RELOADING,
        ),
        (
            replace(RUNS, bells=1),
            said(replace(LOADS, bells=1), Phase.RELOADING),
            [f"READY=1\n{STATUS_RUNS}"],
            Phase.READY,
        ),
        (
            replace(LOADS, bells=1),
            said(LOADS, Phase.LOADING),
            [STATUS_LOADS],
            Phase.LOADING,
        ),
        (
            STOPS,
            said(RUNS),
            [
                "STOPPING=1\nEXTEND_TIMEOUT_USEC=100000000\n"
                "STATUS=stopping: requests in flight are being answered"
            ],
            Phase.STOPPING,
        ),
        (
            replace(STOPS, workers_left=1, is_gateway_left=False),
            said(STOPS, Phase.STOPPING, extended_s_ago=99),
            ["STATUS=stopping: workers left: 1"],
            Phase.STOPPING,
        ),
    ],
    ids=[
        "first word while loading",
        "nothing new while loading",
        "still loading after a while",
        "one more runs",
        "nobody answers before the gateway serves",
        "all run",
        "the default serves, others still load",
        "all settled though the default failed",
        "nothing new",
        "a replacement after a crash asks for no time",
        "a reload that changes nothing",
        "a reload that loads",
        "a second reload while the first one loads",
        "a reload is done",
        "a reload before it was ready is no reload",
        "stop",
        "while stopping",
    ],
)
def test_each_turn_is_told_once_in_the_order_systemd_expects(
    summary: Summary, before: Said, expected: list[str], phase: Phase
) -> None:
    datagrams, after = notices(summary, before, NOW)

    assert list(datagrams) == expected
    assert after.phase is phase
    assert notices(summary, after, NOW)[0] == ()


def test_a_life_is_told_from_the_first_load_to_the_end() -> None:
    told: list[str] = []
    state = Said()

    for at, summary in (
        (0.0, LOADS),
        (6.0, LOADS),
        (8.0, RUNS),
        (9.0, replace(LOADS, bells=1)),
        (15.0, replace(RUNS, bells=1)),
        (16.0, replace(STOPS, bells=1)),
    ):
        datagrams, state = notices(summary, state, NOW + at)
        told += [line.partition("=")[0] for one in datagrams for line in one.split("\n")]

    assert [word for word in told if word != "STATUS"] == [
        "EXTEND_TIMEOUT_USEC",
        "EXTEND_TIMEOUT_USEC",
        "READY",
        "RELOADING",
        "MONOTONIC_USEC",
        "READY",
        "STOPPING",
        "EXTEND_TIMEOUT_USEC",
    ]


def test_the_watchdog_is_fed_three_times_in_its_span_and_only_when_there_is_one() -> None:
    fed: list[float] = []
    state = said(RUNS)
    for tick in range(31):
        datagrams, state = notices(RUNS, state, NOW + tick, watchdog_s=30.0)
        fed += [float(tick) for one in datagrams if "WATCHDOG=1" in one.split("\n")]

    without, _ = notices(RUNS, said(RUNS), NOW + 31)

    assert fed == [0.0, 10.0, 20.0, 30.0]
    assert without == ()
