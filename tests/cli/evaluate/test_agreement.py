from __future__ import annotations

import pytest

from rerank_server.cli.evaluate.agreement import kendall, overlap, same_top


@pytest.mark.parametrize(
    ("a", "b", "tau"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3], [2, 1, 3], 1 / 3),
        ([1], [1], None),
    ],
)
def test_tau_of_known_rankings(a: list[int], b: list[int], tau: float | None) -> None:
    assert kendall(a, b) == (tau if tau is None else pytest.approx(tau))


def test_the_first_documents_are_compared_by_place() -> None:
    assert same_top([2, 1, 3], [3, 1, 2])
    assert not same_top([2, 1, 3], [1, 2, 3])


@pytest.mark.parametrize(("k", "share"), [(1, 0.0), (2, 0.5), (3, 1.0), (10, 1.0)])
def test_overlap_counts_common_documents_among_the_first(k: int, share: float) -> None:
    assert overlap([1, 2, 3], [3, 1, 2], k) == share
