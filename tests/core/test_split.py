"""Who gets which requests that name no version."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rerank_server.core.traffic import (
    Arm,
    Source,
    Traffic,
    arm_of,
    fraction,
    guided,
    in_place,
    shares,
    traffic_from,
    traffic_state,
)

KEYS = tuple(f"user-{number}" for number in range(10_000))
FEW = KEYS[:2_000]
AT_LEISURE = settings(deadline=None)
"""Of examples that throw thousands of keys: how long one takes says nothing."""
ARMS = ("v2-gemma", "v2-minilm", "v1-colbert", "v1-bge-small")
DEFAULT = "v2-m3"


def traffic(*percents: float) -> Traffic:
    return Traffic(tuple(Arm(name, share) for name, share in zip(ARMS, percents, strict=False)))


def served(split: Traffic, keys: tuple[str, ...] = KEYS) -> dict[str, str]:
    return {key: arm_of(split, DEFAULT, key) for key in keys}


@st.composite
def percents(draw: st.DrawFn, most: int = 4) -> list[float]:
    """Return shares of up to four arms that leave something, or nothing, to the default."""
    parts = draw(st.lists(st.integers(0, 100), min_size=1, max_size=most))
    total = sum(parts)
    whole = draw(st.floats(1.0, 100.0))
    return [whole * part / total if total else 0.0 for part in parts]


@pytest.mark.parametrize("arms", [(5.0,), (0.0, 5.0), (0.0, 0.0, 5.0), (30.0, 20.0, 5.0)])
def test_of_ten_thousand_keys_five_percent_go_to_an_arm_of_five_percent(
    arms: tuple[float, ...],
) -> None:
    found = Counter(served(traffic(*arms)).values())

    assert 420 <= found[ARMS[len(arms) - 1]] <= 580


@AT_LEISURE
@given(percents())
def test_each_arm_gets_its_share_and_the_default_the_rest(arms: list[float]) -> None:
    split = traffic(*arms)

    found = Counter(served(split, FEW).values())

    for version, share in shares(split, DEFAULT).items():
        # Five standard deviations of a binomial with 2,000 throws, at its widest.
        assert abs(found[version] - len(FEW) * share / 100) < 5 * (len(FEW) / 4) ** 0.5


def test_raising_five_to_ten_moves_only_keys_of_the_added_share() -> None:
    before, after = served(traffic(5.0)), served(traffic(10.0))

    moved = {(before[key], after[key]) for key in KEYS if before[key] != after[key]}
    count = sum(before[key] != after[key] for key in KEYS)
    assert moved == {(DEFAULT, "v2-gemma")}
    assert 420 <= count <= 580


@AT_LEISURE
@given(percents(most=2), st.integers(0, 1), st.floats(0.0, 100.0))
@example([5.0, 5.0], 1, 0.0)
def test_of_two_arms_a_change_of_one_share_leaves_the_others_keys_alone(
    arms: list[float], which: int, wanted: float
) -> None:
    arms = [*arms, 0.0][:2]
    others = arms[1 - which]
    changed = list(arms)
    changed[which] = min(wanted, 100.0 - others)

    before, after = served(traffic(*arms), FEW), served(traffic(*changed), FEW)

    grows = changed[which] > arms[which]
    way = (DEFAULT, ARMS[which]) if grows else (ARMS[which], DEFAULT)
    assert {(before[k], after[k]) for k in FEW if before[k] != after[k]} <= {way}


def test_a_third_arm_churns_no_more_than_the_change_of_a_share_before_it_explains() -> None:
    before, after = served(traffic(5.0, 5.0, 20.0)), served(traffic(10.0, 5.0, 20.0))

    third = ARMS[2]
    gone = [key for key in KEYS if before[key] == third != after[key]]
    come = [key for key in KEYS if before[key] != third == after[key]]
    # A fifth of the added five percent was the third arm's, and it takes as much elsewhere.
    assert {after[key] for key in gone} == {"v2-gemma"}
    assert {before[key] for key in come} == {DEFAULT}
    assert 0 < len(gone) < 250
    assert 0 < len(come) < 250


@given(st.text(), percents())
def test_a_key_has_one_version_whoever_asks(key: str, arms: list[float]) -> None:
    split = traffic(*arms)

    assert arm_of(split, DEFAULT, key) == arm_of(traffic(*arms), DEFAULT, str(key))
    assert arm_of(split, DEFAULT, key) in {*ARMS, DEFAULT}


def test_where_a_key_falls_is_a_promise_over_releases() -> None:
    keys = ("user-17", "", "Zoë", "\udcff")

    found = [round(fraction(key, "split"), 6) for key in keys]

    assert found == [0.631652, 0.692725, 0.829694, 0.611401]


@given(st.text(), st.text(max_size=5))
def test_a_throw_is_at_least_0_and_under_1(text: str, salt: str) -> None:
    assert 0.0 <= fraction(text, salt) < 1.0


def test_two_salts_are_two_throws() -> None:
    both = [key for key in KEYS if fraction(key, "split") < 0.5 and fraction(key, "other") < 0.5]

    assert 2_300 <= len(both) <= 2_700


@pytest.mark.parametrize(
    ("arms", "all_to"),
    [((100.0,), ARMS[0]), ((0.0, 100.0), ARMS[1]), ((0.0, 0.0, 100.0), ARMS[2]), ((), DEFAULT)],
)
def test_a_share_of_everything_is_everything(arms: tuple[float, ...], all_to: str) -> None:
    assert set(served(traffic(*arms), FEW).values()) == {all_to}


def test_the_default_has_what_the_arms_leave() -> None:
    assert shares(traffic(5.0, 33.3), DEFAULT) == {ARMS[0]: 5.0, ARMS[1]: 33.3, DEFAULT: 61.7}


def test_an_arm_that_serves_as_the_default_has_what_the_others_leave() -> None:
    assert shares(traffic(5.0, 20.0), ARMS[0]) == {ARMS[1]: 20.0, ARMS[0]: 80.0}


def test_what_the_state_file_says_reads_back() -> None:
    said = traffic_state(traffic(5.0, 33.3), DEFAULT)

    assert said["default_share"] == 61.7
    assert traffic_from(said) == traffic(5.0, 33.3)


@pytest.mark.parametrize(
    ("wanted", "before", "expected"),
    [
        ({"b": 10.0}, [], [("b", 10.0)]),
        ({"b": 10.0}, ["a", "b"], [("a", 0.0), ("b", 10.0)]),
        ({"b": 10.0, "a": 5.0}, ["a", "b"], [("a", 5.0), ("b", 10.0)]),
        ({"a": 10.0}, ["a", "b"], [("a", 10.0)]),
        ({"a": 10.0, "b": 0.0}, ["a", "b"], [("a", 10.0), ("b", 0.0)]),
        ({"c": 1.0}, ["a"], [("a", 0.0), ("c", 1.0)]),
        ({}, ["a", "b"], []),
    ],
)
def test_shares_set_by_hand_leave_every_version_its_place(
    wanted: dict[str, float], before: list[str], expected: list[tuple[str, float]]
) -> None:
    assert list(in_place(wanted, before).items()) == expected


# --- while a rollout is under way ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arms", "rollout", "expected"),
    [
        ((), ("v9", 5.0), [("v9", 5.0)]),
        ((20.0,), ("v9", 50.0), [(ARMS[0], 10.0), ("v9", 50.0)]),
        ((20.0, 40.0), ("v9", 50.0), [(ARMS[0], 10.0), ("v9", 50.0), (ARMS[1], 20.0)]),
        ((20.0,), ("v9", 100.0), [(ARMS[0], 0.0), ("v9", 100.0)]),
        ((20.0,), ("v9", 0.0), [(ARMS[0], 20.0), ("v9", 0.0)]),
        ((5.0, 20.0), (ARMS[0], 5.0), [(ARMS[0], 5.0), (ARMS[1], 20.0)]),
        ((20.0, 20.0), (ARMS[0], 60.0), [(ARMS[0], 60.0), (ARMS[1], 10.0)]),
        ((5.0, 20.0), (ARMS[0], 1.0), [(ARMS[0], 1.0), (ARMS[1], 20.0)]),
        ((5.0, 20.0), (ARMS[1], 60.0), [(ARMS[0], 2.5), (ARMS[1], 60.0)]),
        ((100.0,), (ARMS[0], 25.0), [(ARMS[0], 25.0)]),
    ],
)
def test_the_others_keep_their_proportions_in_what_a_rollout_leaves(
    arms: tuple[float, ...], rollout: tuple[str, float], expected: list[tuple[str, float]]
) -> None:
    found = guided(traffic(*arms), Arm(*rollout))

    assert found == Traffic(tuple(Arm(*arm) for arm in expected), Source.ROLLOUT)


def test_without_a_rollout_the_shares_are_as_they_were() -> None:
    assert guided(traffic(5.0), None) == traffic(5.0)


@given(percents(), st.floats(0.0, 100.0))
def test_a_rollout_never_gives_away_more_than_there_is(arms: list[float], share: float) -> None:
    found = guided(traffic(*arms), Arm("v9", share))

    assert sum(arm.share for arm in found.arms) <= 100.0 + 1e-6
    assert Arm("v9", share) in found.arms


@AT_LEISURE
@given(percents(most=1), st.floats(0.0, 50.0), st.floats(50.0, 100.0))
def test_a_rollout_beside_one_arm_only_gains_keys_as_it_grows(
    arms: list[float], low: float, high: float
) -> None:
    before = served(guided(traffic(*arms), Arm("v9", low)), FEW)
    after = served(guided(traffic(*arms), Arm("v9", high)), FEW)

    assert all(after[key] == "v9" for key in FEW if before[key] == "v9")
    assert all(before[key] == ARMS[0] for key in FEW if after[key] == ARMS[0])
