"""What `verify` makes of scores that are further from fp32 than `optimize` would accept."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rerank_workers.verify import checks
from rerank_workers.verify.checks import Scoring
from rerank_workers.verify.texts import Fixed

ADVICE = "model_cpu/ is further away"
EXACT = [[4.0, 1.0, -2.0, -5.0, -8.0, -9.0]]


def scoring(scores: Sequence[Sequence[float]], activation: str = "sigmoid") -> Scoring:
    request = Fixed(
        "q", tuple(f"document {i}" for i, _ in enumerate(scores[0])), right=0, is_judged=True
    )
    settings = {"activation": activation}
    return Scoring([request], scores, scores, scores, True, 0, settings)


def moved(by: float) -> Scoring:
    return scoring([[EXACT[0][0] + by, *EXACT[0][1:]]])


@pytest.mark.parametrize(
    ("by", "advice", "ok", "warns"),
    [
        (0.45, ADVICE, True, False),
        (0.58, ADVICE, True, True),
        (0.95, ADVICE, True, True),
        (1.05, ADVICE, False, False),
        (0.58, None, False, False),
    ],
    ids=["close", "as shipped", "barely", "too far", "not of a model_cpu"],
)
def test_values_that_moved_while_the_order_held_are_a_warning_up_to_one_logit(
    by: float, advice: str | None, ok: bool, warns: bool
) -> None:
    check = checks.agreement("model_cpu", scoring(EXACT), moved(by), advice)

    assert (check.ok, check.warns) == (ok, warns)
    assert check.text.endswith(ADVICE) is warns


@pytest.mark.parametrize(
    "other",
    [[[1.0, 1.5, -2.0, -5.0, -8.0, -9.0]], [[4.0, -2.0, 1.0, -8.4, -5.0, -9.0]]],
    ids=["another first", "another order"],
)
def test_a_lost_order_is_no_warning(other: Sequence[Sequence[float]]) -> None:
    check = checks.agreement("model_cpu", scoring(EXACT), scoring(other), ADVICE)

    assert (check.ok, check.warns) == (False, False)


def test_a_cosine_has_no_room_for_a_warning() -> None:
    near = scoring([[0.9, 0.1]], activation="cosine")
    far = scoring([[0.8, 0.1]], activation="cosine")

    assert checks.agreement("model_cpu", near, far, ADVICE).ok is False
