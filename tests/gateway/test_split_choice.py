"""Requests that name no version, split by shares: who answers, and what is said of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import orjson
import pytest
from starlette.types import Message

from rerank_server.core.traffic import Source, arm_of
from tests.gateway.fakes import failure
from tests.gateway.harness import Gateway
from tests.gateway.splits import BODY, COHERE, key_for, split

# --- who answers ------------------------------------------------------------------------------


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


# --- what is said -----------------------------------------------------------------------------


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
