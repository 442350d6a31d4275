"""Which version answers, and what the client is told when it is another one."""

from __future__ import annotations

import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.gateway.upstream import Lost, Refused
from tests.gateway.fakes import route, table
from tests.gateway.harness import Gateway

BODY = {"query": "q", "docs": ["a"]}
FLEET = table(
    route("v1", "v1.1"),
    route("v2", "v2.1", fallback=["v1"]),
    route("v3", fallback=["v1"], absent=FallbackReason.FAILED),
    route("v4", fallback=["v3", "v2", "v1"], enabled=False),
    route("v5", "v5.1", endpoint="/custom/five"),
)


@pytest.fixture
def fleet(gateway: Gateway) -> Gateway:
    """Return a gateway before five versions, v1 being the default."""
    gateway.show(FLEET)
    return gateway


@pytest.mark.parametrize(
    ("path", "header", "model", "served"),
    [
        ("/rerank", None, None, "v1"),
        ("/rerank/v2", None, None, "v2"),
        ("/rerank", "v2", None, "v2"),
        ("/rerank", None, "v2", "v2"),
        ("/rerank", " v2 ", None, "v2"),
        ("/rerank/v1", "v2", "v5", "v1"),
        ("/rerank", "v2", "v5", "v2"),
        ("/custom/five", None, None, "v5"),
    ],
)
def test_path_beats_header_beats_model_beats_default(
    fleet: Gateway, path: str, header: str | None, model: str | None, served: str
) -> None:
    headers = {} if header is None else {"x-rerank-version": header}

    answer = fleet.post(path, BODY | {"model": model}, headers=headers)

    assert answer.json()["version"] == served
    assert answer.headers["x-rerank-version"] == served
    assert answer.json()["fallback"] is None


@pytest.mark.parametrize(
    ("path", "header", "served", "asked", "reason"),
    [
        ("/rerank", "v9", "v1", "unknown", "unknown_version"),
        ("/rerank", 'v1"; DROP\x7f', "v1", "unknown", "unknown_version"),
        ("/rerank", "v4", "v1", "v4", "disabled"),
        ("/rerank", "v3", "v1", "v3", "failed"),
        ("/rerank/v3", None, "v1", "v3", "failed"),
        ("/rerank/v4", None, "v2", "v4", "disabled"),
    ],
)
def test_a_fallback_is_told_in_body_and_header(
    fleet: Gateway, path: str, header: str | None, served: str, asked: str, reason: str
) -> None:
    headers = {} if header is None else {"x-rerank-version": header}

    answer = fleet.post(path, BODY, headers=headers)

    assert answer.status_code == 200
    assert answer.json()["version"] == served
    assert answer.json()["fallback"] == {"from": asked, "reason": reason}
    assert answer.headers["x-rerank-fallback"] == f"{asked}; reason={reason}"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Refused(FallbackReason.DRAINING), "draining"),
        (Refused(FallbackReason.LOST), "lost"),
        (Refused(FallbackReason.HUNG), "hung"),
        (Lost(), "lost"),
    ],
)
def test_a_worker_that_does_not_answer_is_a_fallback_with_its_reason(
    fleet: Gateway, outcome: Refused | Lost, reason: str
) -> None:
    fleet.workers.behaviours = {"v2.1": outcome}

    answer = fleet.post("/rerank/v2", BODY)

    assert answer.json()["version"] == "v1"
    assert answer.json()["fallback"] == {"from": "v2", "reason": reason}


def test_another_instance_of_the_same_version_is_no_fallback(gateway: Gateway) -> None:
    gateway.show(table(route("v1", "v1.1", "v1.2")))
    gateway.workers.behaviours = {"v1.1": Refused(FallbackReason.DRAINING)}

    answer = gateway.post(body=BODY)

    assert gateway.workers.visits == ["v1.1", "v1.2"]
    assert answer.json()["fallback"] is None


def test_empty_docs_name_the_version_that_would_serve(fleet: Gateway) -> None:
    answer = fleet.post("/rerank/v3", {"query": "q", "docs": []})

    assert answer.json()["version"] == "v1"
    assert answer.headers["x-rerank-fallback"] == "v3; reason=failed"


@pytest.mark.parametrize("docs", [["a"], []])
@pytest.mark.parametrize(
    ("path", "header", "said"),
    [
        ("/rerank", "v9", "not served here"),
        ("/rerank", "v4", "not served here"),
        ("/rerank/v3", None, "v3 cannot answer now (failed)"),
        ("/rerank/v4", None, "v4 cannot answer now (disabled)"),
    ],
)
def test_strict_forbids_any_fallback(
    fleet: Gateway, path: str, header: str | None, said: str, docs: list[str]
) -> None:
    headers = {"x-rerank-strict": "1"} | ({} if header is None else {"x-rerank-version": header})

    answer = fleet.post(path, {"query": "q", "docs": docs}, headers=headers)

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"
    assert said in answer.json()["error"]["message"]
    assert int(answer.headers["retry-after"]) > 0
    assert fleet.workers.visits == []


@pytest.mark.parametrize(
    ("word", "status"), [("True", 503), ("TRUE", 503), (" true ", 503), ("False", 200), ("0", 200)]
)
def test_strict_is_asked_for_in_any_case(fleet: Gateway, word: str, status: int) -> None:
    answer = fleet.post("/rerank/v3", BODY, headers={"x-rerank-strict": word})

    assert answer.status_code == status


def test_strict_does_not_walk_to_another_version_after_a_refusal(fleet: Gateway) -> None:
    fleet.workers.behaviours = {"v2.1": Refused(FallbackReason.DRAINING)}

    answer = fleet.post("/rerank/v2", BODY, headers={"x-rerank-strict": "1"})

    assert answer.status_code == 503
    assert "draining" in answer.json()["error"]["message"]
    assert fleet.workers.visits == ["v2.1"]


def test_strict_is_served_by_the_version_itself(fleet: Gateway) -> None:
    answer = fleet.post("/rerank/v2", BODY, headers={"x-rerank-strict": "1"})

    assert answer.json()["version"] == "v2"


def test_nobody_left_is_unavailable_with_retry_after(gateway: Gateway) -> None:
    gateway.show(table(route("v1", absent=FallbackReason.STARTING)))

    answer = gateway.post(body=BODY)

    assert answer.status_code == 503
    assert "v1 cannot answer now (starting)" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "2"


def test_before_the_first_table_everything_waits(gateway: Gateway) -> None:
    gateway.routes.view = None

    answer = gateway.post("/rerank/anything", BODY)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert gateway.get("/ready").status_code == 503
    assert gateway.get("/health").status_code == 200
    assert gateway.get("/versions").json()["versions"] == []


def test_a_default_that_is_not_in_the_table_is_unavailable(gateway: Gateway) -> None:
    gateway.show(table(route("v1", "v1.1"), default="v0"))

    assert gateway.post(body=BODY).status_code == 503
    assert gateway.post("/rerank/v1", BODY).status_code == 200
