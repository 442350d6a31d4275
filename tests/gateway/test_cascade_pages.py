"""What the pages, metrics and descriptions say of a cascade."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rerank_server.core.routing import FallbackReason, RoutesTable
from rerank_server.core.traffic import Stage
from tests.gateway.fakes import route, scores, table
from tests.gateway.fleet_state import publish_state
from tests.gateway.harness import Gateway, series

STAGES = [{"version": "v1", "keep": 2}, {"version": "v2", "keep": None}]
BODY = {"query": "q", "docs": ["a", "bb", "cccc", "ddd"]}


def routes(*v2: str) -> RoutesTable:
    cascade = (Stage("v1", 2), Stage("v2"))
    fast = replace(
        route("v2-fast", absent=FallbackReason.STARTING),
        cascade=cascade,
        absent=None if v2 else FallbackReason.STARTING,
    )
    return table(fast, route("v1", "v1.1"), route("v2", *v2))


def entry(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "enabled": True, "state": "RUNNING", "source": name, **more}


@pytest.fixture
def fast(gateway: Gateway, tmp_path: Path) -> Gateway:
    """Return a gateway whose default is a cascade, and a state file that tells of it."""
    gateway.show(routes("v2.1"))
    small = {"max_length": 256, "max_batch_tokens": 1000, "batch_size": 4}
    large = {"max_length": 512, "max_batch_tokens": 2000, "batch_size": 8}
    versions = [
        entry("v2-fast", settings={}, info={}, cascade=STAGES),
        entry("v1", settings=small, info={"dtype": "fp16"}, digest="d1"),
        entry("v2", settings=large, info={"dtype": "bf16"}, digest="d2"),
    ]
    publish_state(tmp_path, {"schema": 1, "generation": 7, "versions": versions})
    return gateway


def test_info_tells_what_all_stages_take_and_what_the_last_one_is(fast: Gateway) -> None:
    said = fast.get("/info").json()

    assert (said["model_id"], said["served_model_name"]) == ("v2-fast", "v2-fast")
    assert (said["max_input_length"], said["max_batch_tokens"]) == (256, 2000)
    assert said["model_dtype"] == "bfloat16"
    assert said["cascade"] == STAGES


def test_the_model_list_names_the_stages_of_a_cascade_only(fast: Gateway) -> None:
    cards = {card["id"]: card for card in fast.get("/v1/models").json()["data"]}

    assert cards["v2-fast"]["cascade"] == STAGES
    assert (cards["v2-fast"]["is_ready"], cards["v2-fast"]["max_model_len"]) == (True, 256)
    assert "cascade" not in cards["v1"]


def test_versions_names_the_stages(fast: Gateway) -> None:
    shown = {each["name"]: each for each in fast.get("/versions").json()["versions"]}

    assert shown["v2-fast"]["cascade"] == STAGES
    assert "cascade" not in shown["v1"]


@pytest.mark.parametrize(
    ("v2", "state", "status"), [("v2.1", "RUNNING", 200), ("", "STARTING", 503)]
)
def test_it_is_as_ready_as_its_stages(gateway: Gateway, v2: str, state: str, status: int) -> None:
    gateway.show(routes(*filter(None, [v2])))

    shown = {each["name"]: each["state"] for each in gateway.get("/versions").json()["versions"]}
    assert shown["v2-fast"] == state
    assert gateway.get("/ready?version=v2-fast").status_code == status
    assert gateway.get("/rerank/v2-fast/health").status_code == status
    assert gateway.get("/v1/models/v2-fast").json()["is_ready"] is (status == 200)


def test_a_deep_look_has_each_stage_score(fast: Gateway) -> None:
    fast.workers.behaviours = {i: scores([2.0, 1.0]) for i in ("v1.1", "v2.1")}

    said = fast.get("/rerank/v2-fast/health?deep=1").json()

    assert [instance["id"] for instance in said["instances"]] == ["v1.1", "v2.1"]
    assert all(errand.is_probe for errand in fast.workers.errands)


def test_a_stage_that_scores_wrong_makes_it_unhealthy(fast: Gateway) -> None:
    fast.workers.behaviours = {"v1.1": scores([2.0, 1.0]), "v2.1": scores([1.0, 2.0])}

    answer = fast.get("/rerank/v2-fast/health?deep=1")

    assert answer.status_code == 503
    assert "v2.1: the document that answers" in answer.text


def test_requests_count_under_its_name_and_pruned_documents_by_stage(fast: Gateway) -> None:
    for _ in range(3):
        fast.post(body=BODY)
    fast.post("/rerank/v2", BODY)

    counted = series(fast.get("/metrics").text)

    assert counted['reranker_requests_total{status="200",version="v2-fast"}'] == 3
    assert counted['reranker_requests_total{status="200",version="v2"}'] == 1
    assert counted['reranker_cascade_pruned_total{stage="v1",version="v2-fast"}'] == 6
    assert not any("pruned" in name and 'stage="v2"' in name for name in counted)


def test_the_description_says_of_what_a_cascade_is_made(fast: Gateway) -> None:
    paths = fast.get("/openapi.json").json()["paths"]

    assert "v2-fast is a cascade: v1:2 > v2." in paths["/rerank/v2-fast"]["post"]["description"]
    assert "v2-fast is a cascade" in paths["/rerank"]["post"]["description"]
    assert "description" not in paths["/rerank/v2"]["post"]
    own = fast.get("/rerank/v2-fast/openapi.json").json()
    assert "is a cascade: v1:2 > v2." in own["info"]["description"]


def test_documents_are_named_after_their_stage_for_the_clients_of_others_too(fast: Gateway) -> None:
    said = fast.post("/v1/rerank", {"query": "q", "documents": BODY["docs"]}).json()

    assert [each["stage"] for each in said["results"]] == ["v2", "v2", "v1", "v1"]
