"""The final scores of a cascade, as properties over any scores its stages may give."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core.cascade import Ranked, Round, due, kept, ranked
from rerank_server.core.traffic import Stage

STAGES = (Stage("v1", 20), Stage("v2", 5), Stage("v3"))
Scored = list[tuple[float, float]]

RAW = st.floats(-1e30, 1e30, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 1e-300])
UNIT = st.floats(0, 1, allow_nan=False) | st.sampled_from([0.0, 5e-324, 1e-310, 0.5, 1.0])
ROOMY = st.floats(1e-300, 1, allow_nan=False)
"""0..1, with room below for any number of documents."""


def run(stages: Sequence[tuple[str, int]], scores: Sequence[Scored]) -> tuple[list[Round], Ranked]:
    """Let stages score what reaches them: each looks its scores up by place."""
    places, rounds = list(range(len(scores[0]))), []
    for (version, keep), given_ in zip(stages, scores, strict=True):
        raw, unit = [given_[p][0] for p in places], [given_[p][1] for p in places]
        rounds.append(Round(version, places, raw, unit))
        places = [places[i] for i in kept(raw, keep)]
    return rounds, ranked(rounds)


@st.composite
def cascades(draw: st.DrawFn, unit: st.SearchStrategy[float] = UNIT) -> tuple[list[Round], Ranked]:
    """Draw a cascade of two or three stages with its scores; unit scores follow the raw ones."""
    docs = draw(st.integers(3, 12))
    keeps = draw(st.sampled_from([[docs - 1], [1], [docs - 1, 1], [docs - 1, max(1, docs - 2)]]))
    scores: list[Scored] = []
    for _ in range(len(keeps) + 1):
        raw = draw(st.lists(RAW, min_size=docs, max_size=docs))
        levels = sorted(draw(st.lists(unit, min_size=docs, max_size=docs)))
        by_level = dict(zip(sorted(set(raw)), levels, strict=False))
        scores.append([(x, by_level[x]) for x in raw])
    names = [f"v{n}" for n in range(len(scores))]
    return run(list(zip(names, [*keeps, docs], strict=True)), scores)


def through(rounds: Sequence[Round], place: int) -> int:
    """Return the number of the last stage a document reached."""
    return max(n for n, each in enumerate(rounds) if place in each.places)


@given(cascades())
def test_whoever_is_pruned_is_below_whoever_went_on(found: tuple[list[Round], Ranked]) -> None:
    rounds, final = found

    for a in range(len(final.raw)):
        for b in range(len(final.raw)):
            if through(rounds, a) > through(rounds, b):
                assert final.raw[a] > final.raw[b]
                assert final.unit[a] >= final.unit[b]


@given(cascades())
def test_within_a_stage_its_own_order_and_its_own_ties_hold(
    found: tuple[list[Round], Ranked],
) -> None:
    rounds, final = found

    for number, stage in enumerate(rounds):
        own = dict(zip(stage.places, stage.raw, strict=True))
        ended = [p for p in stage.places if through(rounds, p) == number]
        for a in ended:
            for b in ended:
                assert (own[a] > own[b]) == (final.raw[a] > final.raw[b])
                assert not (own[a] > own[b] and final.unit[a] < final.unit[b])


@given(cascades(ROOMY))
def test_no_two_unit_scores_are_made_equal_where_there_is_room(
    found: tuple[list[Round], Ranked],
) -> None:
    rounds, final = found

    last = len(rounds) - 1
    levels = {(through(rounds, p), final.raw[p]) for p in range(len(final.raw))}
    units = {
        (through(rounds, p), final.unit[p])
        for p in range(len(final.raw))
        if through(rounds, p) < last
    }
    assert len(units) == sum(stage < last for stage, _ in levels)
    lowest = min(u for p, u in enumerate(final.unit) if through(rounds, p) == last)
    assert all(unit < lowest for _, unit in units)


@given(cascades())
def test_the_last_stages_scores_are_left_alone(found: tuple[list[Round], Ranked]) -> None:
    rounds, final = found

    last = rounds[-1]
    for place, raw, unit in zip(last.places, last.raw, last.unit, strict=True):
        assert (final.raw[place], final.unit[place]) == (raw, unit)


@given(cascades())
def test_unit_scores_stay_within_0_and_1_and_raw_ones_finite(
    found: tuple[list[Round], Ranked],
) -> None:
    _, final = found

    assert all(0.0 <= unit <= 1.0 for unit in final.unit)
    assert all(math.isfinite(raw) for raw in final.raw)


@given(cascades())
def test_each_score_is_named_after_the_last_stage_it_reached(
    found: tuple[list[Round], Ranked],
) -> None:
    rounds, final = found

    expected = [rounds[through(rounds, place)].version for place in range(len(final.raw))]
    assert final.stages == expected


def test_the_formula() -> None:
    rounds = [
        Round("v1", [0, 1, 2, 3], [3.0, 5.0, 1.0, 2.5], [0.6, 0.8, 0.3, 0.45]),
        Round("v2", [0, 1], [-7.0, -9.0], [0.5, 0.2]),
    ]

    final = ranked(rounds)

    assert final.raw == [-7.0, -9.0, -11.0, -9.5]
    assert final.unit == pytest.approx([0.5, 0.2, 0.1, 0.15])
    assert final.stages == ["v2", "v2", "v1", "v1"]


def test_a_tie_at_the_cut_is_broken_by_the_least_there_is() -> None:
    rounds = [Round("v1", [0, 1, 2], [1.0] * 3, [0.5] * 3), Round("v2", [0], [4.0], [0.9])]

    final = ranked(rounds)

    below = (math.nextafter(4.0, 0), math.nextafter(0.9, 0))
    assert list(zip(final.raw, final.unit, strict=True)) == [(4.0, 0.9), below, below]


def test_a_survivor_at_0_leaves_no_room_and_the_ranking_goes_by_raw() -> None:
    rounds = [
        Round("v1", [0, 1, 2], [3.0, 2.0, 1.0], [0.9, 0.8, 0.7]),
        Round("v2", [0], [0.0], [0.0]),
    ]

    final = ranked(rounds)

    assert final.unit == [0.0, 0.0, 0.0]
    assert final.raw[0] > final.raw[1] > final.raw[2]


def test_units_that_underflow_are_told_apart_by_what_float64_has() -> None:
    raw = [4.0, 3.0, 2.0, 1.0]
    rounds = [
        Round("v1", [0, 1, 2, 3], raw, [0.9, 1e-30, 1e-31, 0.0]),
        Round("v2", [0], [1], [1e-300]),
    ]

    units = ranked(rounds).unit

    assert units[0] > units[1] > units[2] > units[3] == 0.0


@pytest.mark.parametrize(
    ("docs", "expected"),
    [(0, ["v3"]), (5, ["v3"]), (6, ["v2", "v3"]), (20, ["v2", "v3"]), (21, ["v1", "v2", "v3"])],
)
def test_a_stage_that_would_let_all_through_is_left_out(docs: int, expected: list[str]) -> None:
    assert [stage.version for stage in due(STAGES, docs)] == expected


def test_of_equals_at_the_cut_the_earlier_go_on() -> None:
    assert kept([1.0, 2.0, 1.0, 1.0], 2) == [0, 1]
