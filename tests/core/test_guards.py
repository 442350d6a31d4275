from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.evidence import Figures, Tally
from rerank_server.core.guards import (
    Finding,
    Guards,
    Record,
    Standing,
    is_certain,
    judge,
    reference_p95_s,
)
from tests.core.rollout_build import FAST, SLOW, figures, tally

GUARDS = Guards(error_ratio=0.02, p95_ratio=1.5, min_requests=50, mirror_tau=0.6)
GOOD = figures(100, compared=100)


def judged(recent: Figures, step: Figures | None = None, **more: bool) -> dict[str, Standing]:
    record = Record(recent, recent if step is None else step, **more)
    return {found.guard: found.standing for found in judge(GUARDS, record)}


@pytest.mark.parametrize(
    ("recent", "standing"),
    [
        (figures(0), Standing.OPEN),
        (figures(49), Standing.OPEN),
        (figures(49, 1), Standing.OPEN),
        (figures(49, 2), Standing.BROKEN),  # whatever comes, two of the first fifty have failed
        (figures(50), Standing.HOLDS),
        (figures(50, 1), Standing.HOLDS),
        (figures(100, 2), Standing.HOLDS),
        (figures(100, 3), Standing.BROKEN),
    ],
)
def test_the_error_guard_goes_by_the_share_of_at_least_min_requests(
    recent: Figures, standing: Standing
) -> None:
    assert judged(recent)["error_ratio"] is standing


@pytest.mark.parametrize(
    ("recent", "standing"),
    [
        (figures(49, bucket=SLOW), Standing.OPEN),
        (figures(50, bucket=SLOW), Standing.BROKEN),
        (figures(50), Standing.HOLDS),
        (figures(50, bucket=24), Standing.HOLDS),  # 1.1 ** 4 is 1.46
        (figures(50, bucket=25), Standing.BROKEN),
        (figures(50, others=49), Standing.OPEN),
    ],
)
def test_the_time_guard_compares_with_others_that_have_enough_requests_too(
    recent: Figures, standing: Standing
) -> None:
    assert judged(recent)["p95_ratio"] is standing


def with_slow(slow: int, requests: int, others: int = 1000) -> Figures:
    """Return figures of an arm where so many of its answers took 2.6 times as long."""
    durations = {FAST: requests - slow, SLOW: slow}
    return replace(figures(others=others), arm=Tally(requests, 0, durations))


@pytest.mark.parametrize(
    ("recent", "standing"),
    [
        (with_slow(2, 50), Standing.HOLDS),
        (with_slow(3, 50), Standing.OPEN),  # its p95 is too high, by as little as chance does it
        (with_slow(7, 50), Standing.OPEN),
        (with_slow(8, 50), Standing.BROKEN),
        (with_slow(8, 50, others=50), Standing.OPEN),  # nor are the others known that well
        (with_slow(50, 1000), Standing.HOLDS),
        (with_slow(79, 1000), Standing.OPEN),
        (with_slow(80, 1000), Standing.BROKEN),
    ],
)
def test_the_time_guard_breaks_only_by_what_chance_cannot_explain(
    recent: Figures, standing: Standing
) -> None:
    assert judged(recent)["p95_ratio"] is standing


def test_slow_by_chance_lately_or_in_the_whole_step_keeps_it_open() -> None:
    odd, good = with_slow(3, 50), figures(100)

    assert judged(odd, good)["p95_ratio"] is Standing.OPEN
    assert judged(good, odd)["p95_ratio"] is Standing.OPEN


def test_a_slow_step_breaks_it_though_the_last_interval_has_too_few_requests() -> None:
    few, many = figures(10, bucket=SLOW), figures(100, bucket=SLOW)

    assert judged(few, many)["p95_ratio"] is Standing.BROKEN


def test_an_hour_that_was_slow_for_all_is_not_held_to_a_quick_one() -> None:
    then, now = Figures(tally(200, bucket=SLOW), tally(1000, bucket=SLOW)), figures(10)

    (found,) = (f for f in judge(GUARDS, Record(now, then.plus(now))) if f.guard == "p95_ratio")

    assert found.standing is Standing.HOLDS
    assert "of the others 1" in found.text  # of the same hour


def test_what_may_be_chance_is_said_to_be() -> None:
    odd = with_slow(3, 50)

    text = judge(GUARDS, Record(odd, odd))[1].text

    assert text == (
        "p95 is 1.8 ms, that of the others 0.7 ms (at most 1.5 times), which may be chance"
    )


@pytest.mark.parametrize(
    ("recent", "standing"),
    [
        (figures(100, compared=49, tau=-1.0), Standing.OPEN),
        (figures(100, compared=50, tau=0.5), Standing.BROKEN),
        (figures(100, compared=50, tau=0.6), Standing.HOLDS),
    ],
)
def test_the_ranking_guard_goes_by_the_mean_of_enough_comparisons(
    recent: Figures, standing: Standing
) -> None:
    assert judged(recent)["mirror_tau"] is standing


def test_a_course_without_mirror_tau_does_not_ask_for_it() -> None:
    found = judge(replace(GUARDS, mirror_tau=None), Record(GOOD, GOOD))

    assert [finding.guard for finding in found] == ["error_ratio", "p95_ratio"]


@pytest.mark.parametrize(
    "bad",
    [figures(100, 50), figures(100, bucket=SLOW), figures(100, compared=100, tau=0.0)],
)
def test_a_guard_is_broken_by_the_last_interval_or_by_the_whole_step(bad: Figures) -> None:
    assert Standing.BROKEN in judged(bad, GOOD).values()
    assert Standing.BROKEN in judged(GOOD, bad).values()
    assert Standing.BROKEN not in judged(GOOD, GOOD).values()


def test_a_guard_holds_only_by_the_evidence_of_the_step_itself() -> None:
    assert set(judged(GOOD, figures(10, compared=10)).values()) == {Standing.OPEN}


def test_alone_the_arm_is_held_to_what_the_others_last_took() -> None:
    alone = replace(figures(100, bucket=SLOW), others=figures().arm)
    known = Record(alone, alone, others_p95_s=0.001, is_alone=True)

    findings = {found.guard: found.standing for found in judge(GUARDS, known)}

    assert findings == {
        "error_ratio": Standing.HOLDS,
        "p95_ratio": Standing.BROKEN,
        "mirror_tau": Standing.HOLDS,
    }
    assert judged(alone, is_alone=True)["p95_ratio"] is Standing.HOLDS


def test_alone_it_still_takes_enough_answers_to_say_how_fast_it_is() -> None:
    few = replace(figures(10), others=figures().arm)

    found = judge(GUARDS, Record(few, few, others_p95_s=0.001, is_alone=True))

    assert found[1].standing is Standing.OPEN


@pytest.mark.parametrize(
    ("requests", "errors", "certain"),
    [(2, 2, False), (3, 3, True), (100, 3, False), (100, 12, True), (10_000, 230, False)],
)
def test_failures_leave_no_doubt_when_chance_cannot_explain_them(
    requests: int, errors: int, certain: bool
) -> None:
    assert is_certain(GUARDS, figures(requests, errors)) is certain


def test_failures_beyond_doubt_break_the_guard_before_min_requests() -> None:
    guards = replace(GUARDS, min_requests=1000)
    record = Record(figures(5, 5), figures(5, 5))

    assert judge(guards, record)[0].standing is Standing.BROKEN


def test_the_reference_is_the_newest_that_stands_on_enough_requests() -> None:
    few, many = figures(others=10), figures(others=100)

    assert reference_p95_s(GUARDS, Record(few, few, 7.0)) == 7.0
    assert reference_p95_s(GUARDS, Record(few, many, 7.0)) == many.others.p95_s
    assert reference_p95_s(GUARDS, Record(few, few)) is None


def test_a_finding_says_what_was_found_against_what_is_allowed() -> None:
    bad = figures(100, 50, bucket=SLOW, compared=100, tau=0.25, failed=3)

    texts = [found.text for found in judge(GUARDS, Record(bad, bad))]

    assert texts == [
        "50 of 100 requests failed or were answered by another version "
        "(at most 2.00%; of the others 0 of 1000)",
        "p95 is 1.8 ms, that of the others 0.7 ms (at most 1.5 times)",
        "mean tau is 0.250 (100 rankings compared in this step, 3 copies failed; at least 0.6)",
    ]


def test_a_finding_without_figures_says_unknown() -> None:
    nothing = Figures()

    findings = judge(GUARDS, Record(nothing, nothing))

    assert [found.value for found in findings] == [None, None, None]
    assert [found.text for found in findings[1:]] == [
        "p95 is unknown, that of the others unknown (at most 1.5 times)",
        "mean tau is unknown (0 rankings compared in this step, 0 copies failed; at least 0.6)",
    ]
    assert isinstance(findings[0], Finding)
