"""What a cascade tells of all its stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.core.traffic import Arm, Traffic
from rerank_server.gateway.upstream import Refused
from tests.gateway.cascades import BODY, DOCS, docs_sent, routes
from tests.gateway.fakes import scores
from tests.gateway.harness import Gateway


def test_what_any_stage_cut_off_is_told(fast: Gateway) -> None:
    fast.workers.behaviours = {
        "v1.1": scores([1.0, 2.0, 4.0, 3.0], truncated=[0, 2]),
        "v2.1": scores([5.0, 6.0], truncated=[1]),
    }

    results = fast.post(body=BODY).json()["results"]

    assert {each["index"]: each.get("truncated", False) for each in results} == {
        0: True,
        1: False,
        2: True,
        3: True,
    }


def test_a_window_is_that_of_the_stage_whose_score_it_is(fast: Gateway) -> None:
    of_v1 = [[0, 1, 0, 1], [1, 2, 1, 2], [0, 3, 0, 2], [0, 3, 0, 1]]
    fast.workers.behaviours = {
        "v1.1": scores([1.0, 2.0, 4.0, 3.0], windows=of_v1),
        "v2.1": scores([5.0, 6.0]),
    }

    results = fast.post(body=BODY).json()["results"]

    windows = {each["index"]: each.get("window") for each in results}
    assert windows.pop(1) == {"start": 1, "end": 2, "number": 1, "count": 2}
    assert set(windows.values()) == {None}


def test_a_request_of_pairs_goes_through_the_stages_query_by_query(fast: Gateway) -> None:
    body = {"queries": ["p", "p", "p", "q"], "documents": ["a", "bb", "ccc", "dd"]}

    answer = fast.post("/score", body)

    assert answer.status_code == 200
    assert sorted(map(len, docs_sent(fast))) == [1, 2, 3]
    # The queries' sums; the one with a single document skipped the first stage.
    assert answer.headers["x-rerank-cascade"] == "v1:3>2; v2:3"
    assert len(answer.json()["data"]) == 4


DIALECTS: list[tuple[dict[str, object], Callable[[object], list[int]]]] = [
    ({"query": "q", "texts": DOCS}, lambda said: [e["index"] for e in said]),  # type: ignore[attr-defined]  # JSON
    ({"query": "q", "documents": DOCS}, lambda said: [e["index"] for e in said["results"]]),  # type: ignore[index]  # JSON
]


@pytest.mark.parametrize(("body", "order"), DIALECTS)
def test_other_formats_are_ranked_alike(
    fast: Gateway, body: dict[str, object], order: Callable[[object], list[int]]
) -> None:
    answer = fast.post(body=body)

    assert order(answer.json()) == [3, 2, 1, 0]
    assert answer.headers["x-rerank-cascade"] == "v1:4>2; v2:2"


def test_a_cascade_may_have_a_share_of_the_traffic(fast: Gateway) -> None:
    split = Traffic((Arm("v2-fast", 100.0),))
    fast.show(replace(routes("v3"), default="v3", traffic=split))

    answer = fast.post(body=BODY)
    fast.workers.behaviours = {"v1.1": Refused(FallbackReason.DRAINING)}
    fallen = fast.post(body=BODY)

    assert answer.headers["x-rerank-version"] == "v2-fast"
    assert answer.headers["x-rerank-traffic"].startswith("v2-fast; share=100")
    assert fallen.headers["x-rerank-version"] == "v3"
    assert fallen.headers["x-rerank-fallback"] == "v2-fast; reason=draining"
