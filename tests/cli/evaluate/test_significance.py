from __future__ import annotations

import math
import random
import statistics

import pytest

from rerank_server.cli.evaluate.significance import Estimate, estimate, holm, p_value


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([], 1.0),
        ([0.0, 0.0], 1.0),
        ([0.3, 0.0], 1.0),
        # Of the 32 assignments of signs, 8 have a sum of at least 0.55, either way.
        ([0.1, 0.2, 0.3, -0.1, 0.05], 8 / 32),
        ([1.0] * 8, 2 / 256),
        ([-1.0] * 8 + [0.0] * 50, 2 / 256),
    ],
)
def test_p_of_few_questions_is_exact(differences: list[float], p: float) -> None:
    assert p_value(differences) == pytest.approx(p)


def test_p_of_many_questions_is_near_that_of_the_normal_law_and_repeatable() -> None:
    draw = random.Random(3)
    differences = [draw.gauss(0.01, 0.1) for _ in range(400)]

    found = p_value(differences)

    mean = statistics.fmean(differences)
    deviation = statistics.stdev(differences) / 400**0.5
    expected = 2 * statistics.NormalDist().cdf(-abs(mean) / deviation)
    assert 0.001 < expected < 0.9
    assert found == pytest.approx(expected, abs=0.015)
    assert p_value(differences) == found


def test_chance_alone_is_called_a_difference_as_often_as_it_may_be() -> None:
    chances = {
        heads: math.comb(12, heads) / 2**12
        for heads in range(13)
        if p_value([1.0] * heads + [-1.0] * (12 - heads)) < 0.05
    }

    # Of twelve coins, at most two or at least ten show heads.
    assert set(chances) == {0, 1, 2, 10, 11, 12}
    assert sum(chances.values()) == pytest.approx(0.0386, abs=1e-4)


def test_the_interval_holds_the_mean_and_shrinks_with_more_questions() -> None:
    few, many = estimate([0.0, 1.0] * 10), estimate([0.0, 1.0] * 1000)

    assert few.mean == many.mean == 0.5
    assert few.low < many.low < 0.5 < many.high < few.high
    assert few.high - few.low == pytest.approx(2 * 1.96 * 0.5 / 20**0.5, rel=0.15)


@pytest.mark.parametrize("values", [[0.25], [0.25, 0.25, 0.25]])
def test_values_that_are_all_alike_have_an_interval_of_no_width(values: list[float]) -> None:
    assert estimate(values) == Estimate(0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        # R: p.adjust(c(0.01, 0.04, 0.03), "holm")
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.6, 0.7, 0.01], [1.0, 1.0, 0.03]),
    ],
)
def test_holm_corrects_as_other_software_does(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)
