"""Requests that name no version, split by shares: who answers, and what is said of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest
from starlette.types import Message

from rerank_server.core.routing import FallbackReason, RoutesTable
from rerank_server.core.traffic import Arm, Source, Traffic, arm_of
from rerank_server.gateway.upstream import Lost, Refused
from tests.gateway.fakes import failure, route, table
from tests.gateway.harness import Gateway, series

BODY = {"query": "q", "docs": ["a"]}
COHERE = {"model": "rerank-v3.5", "query": "q", "documents": ["a"]}


def split(*arms: tuple[str, float], source: Source = Source.CONFIG) -> RoutesTable:
    fleet = table(
        route("v1", "v1.1"),
        route("v2", "v2.1"),  # no fallback of its own
        route("v3", absent=FallbackReason.FAILED, fallback=["v2", "v1"]),
    )
    return replace(fleet, traffic=Traffic(tuple(Arm(*arm) for arm in arms), source))


def key_for(arm: str, routes: RoutesTable) -> str:
    """Return a key that belongs to this arm."""
    numbers = (f"user-{number}" for number in range(10_000))
    return next(k for k in numbers if arm_of(routes.traffic, routes.default, k) == arm)


# --- who answers --------------------------------------------------------------------------------


def test_of_ten_thousand_keys_each_arm_answers_its_share(gateway: Gateway) -> None:
    routes = split(("v2", 5.0))
    gateway.show(routes)
    keys = [f"user-{number}" for number in range(10_000)]

    served = asyncio.run(_versions(gateway, keys))

    assert 420 <= Counter(served)["v2"] <= 580
    assert served == [arm_of(routes.traffic, "v1", key) for key in keys]


def test_a_key_keeps_its_version_whatever_the_request(gateway: Gateway) -> None:
    gateway.show(split(("v2", 50.0)))

    answers = [gateway.post(body=BODY, headers={"x-rerank-key": " anna "}) for _ in range(8)]

    assert len({answer.json()["version"] for answer in answers}) == 1


def test_without_a_key_the_request_decides(gateway: Gateway) -> None:
    routes = split(("v2", 50.0))
    gateway.show(routes)

    answers = [
        gateway.post(body=BODY, headers={"x-request-id": f"r{n}"} | empty)
        for n in range(20)
        for empty in ({}, {"x-rerank-key": "  "})
    ]

    expected = [arm_of(routes.traffic, "v1", f"r{n}") for n in range(20) for _ in range(2)]
    assert [answer.json()["version"] for answer in answers] == expected
    assert {answer.json()["traffic"]["by"] for answer in answers} == {"request"}


@pytest.mark.parametrize("key", ["Zoë", "анна", "\x80\xff"])
def test_a_key_may_be_in_any_language(gateway: Gateway, key: str) -> None:
    gateway.show(split(("v2", 50.0)))
    raw = key.encode("latin-1" if key == "\x80\xff" else "utf-8").decode("latin-1")

    answer = gateway.post(body=BODY, headers={"x-rerank-key": raw})

    kept = raw.encode("latin-1").decode("utf-8", "surrogateescape")
    assert answer.json()["version"] == arm_of(split(("v2", 50.0)).traffic, "v1", kept)


@pytest.mark.parametrize(
    ("path", "headers", "more", "served"),
    [
        ("/rerank", {}, {}, "v2"),
        ("/rerank", {}, {"model": "rerank-v3.5"}, "v2"),
        ("/v1/rerank", {}, {}, "v2"),
        ("/rerank/v1", {}, {}, "v1"),
        ("/rerank/v1/v1/rerank", {}, {}, "v1"),
        ("/rerank", {"x-rerank-version": "v1"}, {}, "v1"),
        ("/rerank", {"x-rerank-version": "v9"}, {}, "v1"),
        ("/rerank", {}, {"model": "v1"}, "v1"),
    ],
)
def test_an_explicit_version_always_wins(
    gateway: Gateway,
    path: str,
    headers: dict[str, str],
    more: dict[str, str],
    served: str,
) -> None:
    gateway.show(split(("v2", 100.0)))

    answer = gateway.post(path, BODY | more, headers=headers)

    assert answer.headers["x-rerank-version"] == served
    assert ("x-rerank-traffic" in answer.headers) is (served == "v2")


# --- what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (BODY, "/rerank"),
        (COHERE, "/v1/rerank"),
        ({"query": "q", "texts": ["a"]}, "/rerank"),
        ({"queries": "q", "documents": "a"}, "/score"),
        ({"query": "q", "docs": []}, "/rerank"),
    ],
)
def test_every_format_says_in_its_head_who_was_meant_and_why(
    gateway: Gateway, body: dict[str, object], path: str
) -> None:
    routes = split(("v2", 5.0), source=Source.OPERATOR)
    gateway.show(routes)

    theirs = gateway.post(path, body, headers={"x-rerank-key": key_for("v2", routes)})
    defaults = gateway.post(path, body, headers={"x-rerank-key": key_for("v1", routes)})

    assert theirs.headers["x-rerank-traffic"] == "v2; share=5; by=key; source=operator"
    assert defaults.headers["x-rerank-traffic"] == "v1; share=95; by=key; source=operator"
    assert theirs.headers["x-rerank-version"] == "v2"


def test_the_servers_own_format_says_it_in_the_body_too(gateway: Gateway) -> None:
    gateway.show(split(("v2", 100 / 3)))

    said = gateway.post(body=BODY, headers={"x-request-id": "r1"}).json()

    assert said["traffic"]["share"] == pytest.approx(200 / 3)
    assert said["traffic"] | {"share": 0} == {
        "arm": "v1",
        "share": 0,
        "by": "request",
        "source": "config",
    }


def test_an_error_says_whose_it_was_once_that_was_decided(gateway: Gateway) -> None:
    gateway.show(split(("v2", 100.0)))
    gateway.workers.behaviours = {"v2.1": failure(500, "model_error")}

    failed = gateway.post(body=BODY)
    foreign = gateway.post("/v1/rerank", COHERE)
    invalid = gateway.post(body={"query": "q"})
    by_name = gateway.post("/rerank/v2", BODY)

    statuses = [each.status_code for each in (failed, foreign, invalid, by_name)]
    assert statuses == [500, 500, 400, 500]
    for answer in (failed, foreign):
        assert answer.headers["x-rerank-traffic"] == "v2; share=100; by=request; source=config"
    assert "x-rerank-traffic" not in invalid.headers
    assert "x-rerank-traffic" not in by_name.headers


def test_where_nothing_is_split_nothing_is_said(gateway: Gateway) -> None:
    gateway.show(split())

    answer = gateway.post(body=BODY, headers={"x-rerank-key": "anna"})

    assert "x-rerank-traffic" not in answer.headers
    assert "traffic" not in answer.json()


# --- an arm that cannot answer ------------------------------------------------------------------


def test_the_share_of_a_version_that_does_not_run_goes_to_the_default_marked(
    gateway: Gateway,
) -> None:
    gateway.show(split(("v3", 100.0)))

    answer = gateway.post(body=BODY)

    assert answer.headers["x-rerank-version"] == "v1"
    assert answer.headers["x-rerank-fallback"] == "v3; reason=failed"
    assert answer.headers["x-rerank-traffic"] == "v3; share=100; by=request; source=config"
    assert gateway.workers.visits == ["v1.1"]
    counted = series(gateway.get("/metrics").text)
    labels = '{reason="failed",to="v1",version="v3"}'
    assert counted[f"reranker_fallback_count_total{labels}"] == 1


def test_a_client_of_another_server_is_told_that_the_arm_is_away(gateway: Gateway) -> None:
    gateway.show(split(("v3", 100.0)))

    answer = gateway.post("/v1/rerank", COHERE)

    assert answer.headers["x-rerank-fallback"] == "v3; reason=failed"
    counted = series(gateway.get("/metrics").text)
    assert counted['reranker_fallback_count_total{reason="failed",to="v1",version="v3"}'] == 1


def test_a_client_of_another_server_that_an_arm_serves_is_no_event(gateway: Gateway) -> None:
    gateway.show(split(("v2", 100.0)))

    answer = gateway.post("/v1/rerank", COHERE)

    assert answer.headers["x-rerank-version"] == "v2"
    assert answer.headers["x-rerank-fallback"] == "unknown; reason=unknown_version"
    counted = series(gateway.get("/metrics").text)
    fallbacks = {k: v for k, v in counted.items() if k.startswith("reranker_fallback_count")}
    assert not any(fallbacks.values())


@pytest.mark.parametrize(
    ("outcome", "reason"), [(Refused(FallbackReason.DRAINING), "draining"), (Lost(), "lost")]
)
def test_a_request_whose_arm_gives_out_on_the_way_ends_at_the_default(
    gateway: Gateway, outcome: Refused | Lost, reason: str
) -> None:
    gateway.show(split(("v2", 100.0)))
    gateway.workers.behaviours = {"v2.1": outcome}

    answer = gateway.post(body=BODY)

    assert answer.status_code == 200
    assert answer.headers["x-rerank-version"] == "v1"
    assert answer.headers["x-rerank-fallback"] == f"v2; reason={reason}"


@pytest.mark.parametrize("arm", ["v2", "v3"])
def test_strict_forbids_the_default_in_the_arms_place(gateway: Gateway, arm: str) -> None:
    gateway.show(split((arm, 100.0)))
    gateway.workers.behaviours = {"v2.1": Refused(FallbackReason.DRAINING)}

    answer = gateway.post(body=BODY, headers={"x-rerank-strict": "1"})

    assert answer.status_code == 503
    assert f"{arm} cannot answer now" in answer.json()["error"]["message"]
    assert "v1.1" not in gateway.workers.visits


def test_an_arm_that_was_taken_out_while_the_request_was_on_its_way_is_no_error(
    gateway: Gateway,
) -> None:
    gateway.show(split(("v2", 100.0)))

    def leave(_: object) -> Refused:
        gateway.show(table(route("v1", "v1.1")))
        return Refused(FallbackReason.DRAINING)

    gateway.workers.behaviours = {"v2.1": leave}

    answer = gateway.post(body=BODY)

    assert answer.headers["x-rerank-version"] == "v1"
    assert answer.headers["x-rerank-fallback"] == "v2; reason=disabled"


# --- what is counted ----------------------------------------------------------------------------


def test_requests_are_counted_by_arm_and_by_who_served_them(gateway: Gateway) -> None:
    routes = split(("v2", 5.0), ("v3", 5.0))
    gateway.show(routes)
    for arm in ("v1", "v2", "v2", "v3"):
        gateway.post(body=BODY, headers={"x-rerank-key": key_for(arm, routes)})
    gateway.post("/rerank/v2", BODY)

    counted = series(gateway.get("/metrics").text)

    name = "reranker_traffic_requests_total"
    assert {key: value for key, value in counted.items() if key.startswith(name)} == {
        f'{name}{{arm="v1",source="config",version="v1"}}': 1,
        f'{name}{{arm="v2",source="config",version="v2"}}': 2,
        f'{name}{{arm="v3",source="config",version="v1"}}': 1,
        f'{name}{{arm="v3",source="config",version="v3"}}': 0,
    }
    gauge = "reranker_traffic_share_ratio"
    assert {key: value for key, value in counted.items() if key.startswith(gauge)} == {
        f'{gauge}{{version="v2"}}': 0.05,
        f'{gauge}{{version="v3"}}': 0.05,
        f'{gauge}{{version="v1"}}': 0.9,
    }


def test_the_first_request_of_an_arm_is_an_increase(gateway: Gateway) -> None:
    gateway.show(split(("v2", 5.0)))
    gateway.post(body=BODY, headers={"x-rerank-version": "v9"})  # some fallback is counted

    counted = series(gateway.get("/metrics").text)

    name = "reranker_traffic_requests_total"
    assert counted[f'{name}{{arm="v2",source="config",version="v2"}}'] == 0
    assert counted['reranker_fallback_count_total{reason="failed",to="v1",version="v2"}'] == 0


def test_a_server_without_shares_has_no_such_series(gateway: Gateway) -> None:
    gateway.post(body=BODY)

    assert "reranker_traffic" not in gateway.get("/metrics").text


def test_a_failed_request_counts_for_its_arm(gateway: Gateway) -> None:
    gateway.show(split(("v2", 100.0)))
    gateway.workers.behaviours = dict.fromkeys(("v1.1", "v2.1"), Refused(FallbackReason.LOST))

    assert gateway.post(body=BODY).status_code == 503

    counted = series(gateway.get("/metrics").text)
    labels = '{arm="v2",source="config",version="v2"}'
    assert counted[f"reranker_traffic_requests_total{labels}"] == 1


def test_a_strict_request_for_a_model_that_is_none_here_is_no_arms_failure(
    gateway: Gateway,
) -> None:
    gateway.show(split(("v2", 100.0)))

    answer = gateway.post("/v1/rerank", COHERE, headers={"x-rerank-strict": "1"})

    assert answer.status_code == 503
    assert gateway.workers.visits == []
    counted = series(gateway.get("/metrics").text)
    assert not any(v for k, v in counted.items() if k.startswith("reranker_traffic_requests"))


async def _versions(gateway: Gateway, keys: Sequence[str]) -> list[str]:
    """Ask once for each key, and return who answered."""
    body = orjson.dumps(BODY)
    served: list[str] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            served.append(dict(message["headers"])[b"x-rerank-version"].decode())

    for key in keys:
        headers = [(b"content-type", b"application/json"), (b"x-rerank-key", key.encode())]
        scope = {
            **{"type": "http", "method": "POST", "path": "/rerank", "root_path": ""},
            **{"query_string": b"", "headers": headers},
        }
        await gateway.app(scope, receive, send)
    return served
