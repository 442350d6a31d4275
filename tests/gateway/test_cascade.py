"""A cascade over workers that behave as told: who is asked for what, and what is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest

from rerank_server.core.routing import FallbackReason, RoutesTable, VersionRoute
from rerank_server.core.traffic import Arm, Stage, Traffic
from rerank_server.gateway.upstream import Errand, Lost, Outcome, Refused
from tests.gateway.fakes import failure, route, scores, table
from tests.gateway.harness import JSON, Gateway

STAGES = (Stage("v1", 2), Stage("v2"))
DOCS = ["a", "bb", "cccc", "ddd"]
BODY = {"query": "q", "docs": DOCS}


def cascade(*fallback: str, stages: tuple[Stage, ...] = STAGES) -> VersionRoute:
    return replace(route("v2-fast", fallback=fallback), cascade=stages, absent=None)


def routes(*fallback: str) -> RoutesTable:
    """Return a table where the cascade is the default."""
    return table(
        cascade(*fallback),
        route("v1", "v1.1"),
        route("v2", "v2.1", fallback=["v1"]),
        route("v3", "v3.1"),
    )


def by_shortness(errand: Errand) -> Outcome:
    """Score each document the higher the shorter it is: the opposite of what others do."""
    docs = orjson.loads(errand.payload)["docs"]
    return scores([-float(len(doc)) for doc in docs], unit=[1 / (1 + len(doc)) for doc in docs])


@pytest.fixture
def fast(gateway: Gateway) -> Gateway:
    """Return a gateway whose default is a cascade: v1 keeps the longest two, v2 likes short."""
    gateway.workers.behaviours = {"v2.1": by_shortness}
    gateway.show(routes("v3"))
    return gateway


def docs_sent(gateway: Gateway) -> list[list[str]]:
    return [orjson.loads(errand.payload)["docs"] for errand in gateway.workers.errands]


def test_the_first_stage_prunes_and_the_last_decides(fast: Gateway) -> None:
    answer = fast.post(body=BODY)

    assert fast.workers.visits == ["v1.1", "v2.1"]
    assert docs_sent(fast) == [DOCS, ["cccc", "ddd"]]
    said = answer.json()
    assert [(each["index"], each["stage"]) for each in said["results"]] == [
        (3, "v2"),
        (2, "v2"),
        (1, "v1"),
        (0, "v1"),
    ]
    ranking = [each["score"] for each in said["results"]]
    assert ranking == sorted(set(ranking), reverse=True)
    assert ranking[:2] == [1 / 4, 1 / 5]
    assert said["version"] == "v2-fast"
    assert said["fallback"] is None
    assert answer.headers["x-rerank-version"] == "v2-fast"
    assert answer.headers["x-rerank-cascade"] == "v1:4>2; v2:2"


def test_times_and_tokens_are_those_of_all_stages(fast: Gateway) -> None:
    said = fast.post(body=BODY)

    assert said.json()["usage"] == {"pairs": 4, "tokens": 3 * 4 + 3 * 2}
    assert said.json()["timing_ms"]["inference"] == 5.0
    assert said.headers["server-timing"].startswith(
        "queue;dur=3.000, tokenize;dur=1.000, inference;dur=5.000,"
    )


@pytest.mark.parametrize("docs", [["a", "bb"], ["a"]])
def test_few_documents_go_to_the_last_stage_at_once(fast: Gateway, docs: list[str]) -> None:
    answer = fast.post(body={"query": "q", "docs": docs})

    assert fast.workers.visits == ["v2.1"]
    assert answer.headers["x-rerank-cascade"] == f"v2:{len(docs)}"
    assert answer.json()["results"][0]["stage"] == "v2"


def test_no_documents_ask_nobody(fast: Gateway) -> None:
    answer = fast.post(body={"query": "q", "docs": []})

    assert (answer.status_code, answer.json()["version"]) == (200, "v2-fast")
    assert fast.workers.visits == []
    assert "x-rerank-cascade" not in answer.headers


def test_raw_scores_keep_the_order_across_the_cut(fast: Gateway) -> None:
    said = fast.post(body=BODY | {"raw_scores": True}).json()

    # v2 gave -4 and -3; v1 gave 1 and 2 to the pruned, and 3 to the last it let through.
    assert said["scores"] == [-6.0, -5.0, -4.0, -3.0]


def test_three_stages_prune_in_turn(gateway: Gateway) -> None:
    stages = (Stage("v1", 3), Stage("v3", 2), Stage("v2"))
    gateway.show(
        table(cascade(stages=stages), route("v1", "v1.1"), route("v2", "v2.1"), route("v3", "v3.1"))
    )

    answer = gateway.post(body=BODY)

    assert docs_sent(gateway) == [DOCS, ["bb", "cccc", "ddd"], ["cccc", "ddd"]]
    assert answer.headers["x-rerank-cascade"] == "v1:4>3; v3:3>2; v2:2"
    assert [each["stage"] for each in answer.json()["results"]] == ["v2", "v2", "v3", "v1"]


def test_the_deadline_is_the_requests_own_for_all_stages(fast: Gateway) -> None:
    fast.post(body=BODY, headers={**JSON, "x-request-timeout": "2"})

    first, second = fast.workers.errands
    assert first.deadline == second.deadline
    assert first.request_id == second.request_id


@pytest.mark.parametrize(
    "path",
    ["/rerank/v2-fast", "/v1/rerank"],
)
def test_a_cascade_is_reached_by_path_header_and_body(fast: Gateway, path: str) -> None:
    fast.show(replace(routes("v3"), default="v3"))

    by_path = fast.post("/rerank/v2-fast", BODY)
    by_header = fast.post(body=BODY, headers={**JSON, "x-rerank-version": "v2-fast"})
    by_body = fast.post(body=BODY | {"model": "v2-fast"})

    answers = (by_path, by_header, by_body)
    assert {each.headers["x-rerank-version"] for each in answers} == {"v2-fast"}


# --- what its stages refuse ---------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["v1.1", "v2.1"])
def test_a_stage_that_refuses_sends_the_request_down_the_cascades_own_fallback(
    fast: Gateway, broken: str
) -> None:
    fast.workers.behaviours = {broken: Refused(FallbackReason.DRAINING)}

    answer = fast.post(body=BODY)

    assert answer.headers["x-rerank-version"] == "v3"
    assert answer.headers["x-rerank-fallback"] == "v2-fast; reason=draining"
    assert "stage" not in answer.json()["results"][0]
    assert "x-rerank-cascade" not in answer.headers


def test_a_stages_own_fallback_does_not_answer_in_its_place(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Refused(FallbackReason.HUNG)}

    fast.post(body=BODY)

    assert fast.workers.visits == ["v1.1", "v2.1", "v3.1"]  # and not v1, which is v2's fallback


def test_a_cascade_whose_stage_does_not_run_is_told_with_the_reason(gateway: Gateway) -> None:
    gateway.show(
        table(
            replace(cascade("v3"), absent=FallbackReason.BACKOFF),
            route("v1", absent=FallbackReason.BACKOFF),
            route("v2", "v2.1"),
            route("v3", "v3.1"),
        )
    )

    answer = gateway.post(body=BODY)
    strict = gateway.post(body=BODY, headers={**JSON, "x-rerank-strict": "1"})

    assert answer.headers["x-rerank-fallback"] == "v2-fast; reason=backoff"
    assert strict.status_code == 503
    assert gateway.workers.visits == ["v3.1"]


def test_strict_asks_the_stages_and_nobody_else(fast: Gateway) -> None:
    headers = {**JSON, "x-rerank-strict": "1", "x-rerank-version": "v2-fast"}

    assert fast.post(body=BODY, headers=headers).status_code == 200
    fast.workers.behaviours = {"v2.1": Refused(FallbackReason.LOST)}
    assert fast.post(body=BODY, headers=headers).status_code == 503


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (failure(429, "queue_full", retry_after="2"), 429),
        (failure(500, "model_error", "it broke"), 500),
        (failure(504, "deadline_exceeded"), 504),
    ],
)
def test_a_stages_error_is_the_answer_and_is_not_tried_elsewhere(
    fast: Gateway, answer: Outcome, status: int
) -> None:
    fast.workers.behaviours = {"v2.1": answer}

    assert fast.post(body=BODY).status_code == status
    assert fast.workers.visits == ["v1.1", "v2.1"]


def test_another_instance_of_a_stage_is_tried_first(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Refused(FallbackReason.LOST)}
    fast.show(
        table(cascade("v3"), route("v1", "v1.1"), route("v2", "v2.1", "v2.2"), route("v3", "v3.1"))
    )

    assert fast.post(body=BODY).headers["x-rerank-version"] == "v2-fast"
    assert fast.workers.visits == ["v1.1", "v2.1", "v2.2"]


def test_losses_of_all_stages_are_counted_together(fast: Gateway) -> None:
    fast.workers.behaviours = {"v1.1": Lost(), "v3.1": Lost()}

    assert fast.post(body=BODY).status_code == 502
    assert fast.workers.visits == ["v1.1", "v3.1!"]


def test_a_loss_in_the_last_stage_is_retried_alone_by_the_fallback(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Lost()}

    answer = fast.post(body=BODY)

    assert answer.headers["x-rerank-fallback"] == "v2-fast; reason=lost"
    assert fast.workers.visits == ["v1.1", "v2.1", "v3.1!"]


def test_a_text_that_killed_two_workers_in_a_stage_is_refused_there(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Lost(), "v2.2": Lost()}
    fast.show(
        table(cascade("v3"), route("v1", "v1.1"), route("v2", "v2.1", "v2.2"), route("v3", "v3.1"))
    )

    assert fast.post(body=BODY).status_code == 502
    assert fast.post(body=BODY).status_code == 502
    assert fast.workers.visits == ["v1.1", "v2.1", "v2.2!"]


@pytest.mark.parametrize("killed", ["v2", "v1"])
def test_a_text_that_kills_in_a_stage_costs_two_processes_over_all_requests(
    fast: Gateway, killed: str
) -> None:
    """The second process dies with another request: the first stage's answer clears nothing."""
    fast.workers.behaviours = {
        f"{killed}.1": Lost(),
        f"{killed}.2": Lost(),
        "v3.1": failure(500, "x"),
    }
    fast.show(table(cascade(), route("v1", "v1.1"), route("v2", "v2.1"), route("v3", "v3.1")))
    assert fast.post(body=BODY).status_code == 503
    fast.show(
        table(
            cascade("v3"),
            route("v1", "v1.2" if killed == "v1" else "v1.1"),
            route("v2", "v2.2"),
            route("v3", "v3.1"),
        )
    )

    assert fast.post(body=BODY).status_code == 502
    fast.workers.visits.clear()
    assert fast.post(body=BODY).status_code == 502
    assert fast.post("/rerank/v3", body=BODY).status_code == 502
    assert fast.workers.visits == []


def test_a_suspect_that_all_stages_score_is_cleared(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Lost()}
    fast.show(table(cascade(), route("v1", "v1.1"), route("v2", "v2.1")))
    assert fast.post(body=BODY).status_code == 503
    fast.show(table(cascade(), route("v1", "v1.1"), route("v2", "v2.2")))

    assert fast.post(body=BODY).status_code == 200

    assert fast.workers.visits == ["v1.1", "v2.1", "v1.1!", "v2.2!"]
    assert fast.ledger.is_empty()


def test_a_newer_definition_is_tried_when_a_stage_is_gone_meanwhile(fast: Gateway) -> None:
    newer = table(
        cascade(stages=(Stage("v1", 2), Stage("v3"))),
        route("v1", "v1.1"),
        route("v2", "v2.1"),
        route("v3", "v3.1"),
    )

    def replaced(_: Errand) -> Outcome:
        fast.show(newer)
        return Refused(FallbackReason.DRAINING)

    fast.show(routes())
    fast.workers.behaviours = {"v2.1": replaced}

    answer = fast.post(body=BODY)

    assert answer.headers["x-rerank-version"] == "v2-fast"
    assert answer.headers["x-rerank-cascade"] == "v1:4>2; v3:2"


def test_scores_that_make_no_sense_are_an_error_of_the_request(fast: Gateway) -> None:
    fast.workers.behaviours = {"v1.1": scores([1.0])}

    assert fast.post(body=BODY).status_code == 500


# --- what is merged -----------------------------------------------------------------------------


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
