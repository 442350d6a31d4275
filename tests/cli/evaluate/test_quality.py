from __future__ import annotations

import math

import pytest

from rerank_server.cli.evaluate.quality import check_installed, names, values
from rerank_server.cli.evaluate.questions import Question


def question(*grades: int) -> Question:
    return Question(1, "q", tuple("d" for _ in grades), grades)


def test_the_measures_have_their_textbook_values() -> None:
    ranked = [
        (question(0, 1, 0), [1, 2, 3]),
        (question(1, 0, 1), [1, 2, 3]),
        (question(3, 0, 1), [3, 1, 2]),
    ]

    found = values(ranked, 2)

    ideal = 3 + 1 / math.log2(3)
    assert tuple(found) == names(2) == ("MRR", "nDCG@2", "recall@2")
    assert found["MRR"] == pytest.approx((1 / 2, 1, 1 / 2))
    assert found["nDCG@2"] == pytest.approx(
        (1 / math.log2(3), 1 / (1 + 1 / math.log2(3)), (1 / math.log2(3)) / ideal)
    )
    assert found["recall@2"] == pytest.approx((1, 1 / 2, 1 / 2))


def test_more_than_ten_questions_stay_in_order() -> None:
    others = [[rank for rank in range(1, 16) if rank != place] for place in range(1, 13)]
    ranked = [
        (question(1, *[0] * 14), [place, *rest]) for place, rest in enumerate(others, start=1)
    ]

    assert values(ranked, 10)["MRR"] == pytest.approx([1 / place for place in range(1, 13)])


def test_the_extra_is_installed_where_the_tests_run() -> None:
    check_installed()
