from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core import wire
from rerank_server.core.evidence import (
    Compared,
    Counts,
    Figures,
    Tally,
    bucket_of,
    counts_from,
    counts_json,
    total,
)
from rerank_server.core.stats import quantile

COUNTS = Counts(
    {"v1": Tally(10, 1, {20: 9}), "v2": Tally(4, 0, {20: 1, 30: 3}), "v3": Tally(1, 0, {5: 1})},
    {
        ("v1", "v2"): Compared(3, 1.5, 1),
        ("v3", "v2"): Compared(1, -1.0, 0),
        ("v1", "v3"): Compared(9, 9.0, 9),
    },
)


def test_one_arm_is_seen_beside_all_others() -> None:
    found = COUNTS.figures("v2")

    assert found == Figures(
        Tally(4, 0, {20: 1, 30: 3}), Tally(11, 1, {5: 1, 20: 9}), Compared(4, 0.5, 1)
    )
    assert (found.arm.answered, found.mirrored.mean_tau) == (4, 0.125)
    assert (Figures().arm.p95_s, Figures().mirrored.mean_tau) == (None, None)
    assert COUNTS.figures("v9").arm == Tally()


def test_what_is_new_is_the_difference_and_all_of_a_count_that_began_anew() -> None:
    later = Counts(
        {"v1": Tally(12, 1, {20: 11}), "v2": Tally(1, 0, {20: 1}), "v4": Tally(2, 2)},
        {("v1", "v2"): Compared(5, 1.0, 1), ("v1", "v3"): Compared(1, 0.5, 0)},
    )

    assert later.minus(COUNTS) == Counts(
        {"v1": Tally(2, 0, {20: 2}), "v2": Tally(1, 0, {20: 1}), "v4": Tally(2, 2)},
        {("v1", "v2"): Compared(2, -0.5, 0), ("v1", "v3"): Compared(1, 0.5, 0)},
    )


def test_figures_add_up() -> None:
    one = COUNTS.figures("v2")

    assert one.plus(one) == Figures(
        Tally(8, 0, {20: 2, 30: 6}), Tally(22, 2, {5: 2, 20: 18}), Compared(8, 1.0, 2)
    )
    assert total([]) == Tally()


def test_counts_survive_their_file() -> None:
    assert counts_from(json.loads(json.dumps(counts_json(COUNTS, 7.5)))) == (COUNTS, 7.5)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"schema": 2, "time": 1, "arms": {}, "mirror": {}}',
        '{"schema": 1, "time": 1, "arms": [], "mirror": {}}',
        '{"schema": 1, "time": 1, "arms": {"v1": {"requests": 1, "errors": 0, '
        '"duration_buckets": []}}, "mirror": {}}',
        '{"schema": 1, "time": null, "arms": {}, "mirror": {}}',
        '{"schema": 1, "time": 1, "arms": {}, "mirror": {"v1": 5}}',
    ],
)
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        counts_from(json.loads(text))


@given(st.floats(0.0, 1e4))
def test_a_duration_is_read_back_within_a_tenth(duration_s: float) -> None:
    found = quantile({bucket_of(duration_s): 1}, 0.95)

    assert found is not None
    shown = min(max(duration_s, wire.HISTOGRAM_MIN_S), 400.0)
    assert found == pytest.approx(shown, rel=0.11)
