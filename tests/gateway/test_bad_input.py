"""Whatever a client sends, it gets one error shape with the right status and field."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest

from rerank_server.gateway.connection import Answer
from rerank_server.gateway.upstream import Errand
from tests.gateway.fakes import LIMITS, failure, route, table
from tests.gateway.harness import Gateway

GOOD = {"query": "q", "docs": ["a"]}
SECRET = "sEcReT"


@pytest.mark.parametrize(
    ("content", "field", "said"),
    [
        (b"", None, "the body is empty"),
        (b"hello", None, "the body is not valid JSON"),
        (b'{"query":"q","docs":["a"],}', None, "trailing comma"),
        (b"[1,2]", None, "must be a JSON object"),
        (b'"text"', None, "must be a JSON object"),
        (b'{"query":"\xff","docs":[]}', None, "not valid UTF-8 (at byte 10)"),
        (b"\xef\xbb\xbf{}", None, "byte order mark"),
        (b"[" * 5000, None, "depth limit"),
        (b'{"query":"q","docs":["a"],"top_n":' + b"9" * 5000 + b"}", None, "not valid JSON"),
        (b'{"query":NaN,"docs":["a"]}', "query", "NaN"),
        (b'{"query":"q","docs":["a"],"top_n":Infinity}', "top_n", "Infinity"),
        (b'{"query":"q","docs":["a",-Infinity]}', "docs[1]", "Infinity"),
        (b'{"query":"q","docs":["a"],"top_n":1e999}', "top_n", "Infinity"),
        (b'{"query":"q","docs":["a"],"other":NaN}', None, "not valid JSON"),
        (b'{"query":"\\ud800","docs":["a"]}', "query", "surrogate"),
        (b'{"query":"q","docs":["a","\\udc00 b"]}', "docs[1]", "surrogate"),
        (b'{"docs":["a"]}', "query", "query is missing"),
        (b'{"query":null,"docs":["a"]}', "query", "query is missing"),
        (b'{"query":"","docs":["a"]}', "query", "query is empty"),
        (b'{"query":7,"docs":["a"]}', "query", "not a number"),
        (b'{"query":["q"],"docs":["a"]}', "query", "not a list"),
        (b'{"query":"q"}', "docs", "docs is missing"),
        (b'{"query":"q","docs":"a"}', "docs", "not a string"),
        (b'{"query":"q","docs":{"a":1}}', "docs", "not an object"),
        (b'{"query":"q","docs":["a","b","c",4]}', "docs[3]", "not a number"),
        (b'{"query":"q","docs":[null]}', "docs[0]", "not null"),
        (b'{"query":"q","docs":[{"text":"a"}]}', "docs[0]", "not an object"),
        (b'{"query":"q","docs":["a"],"top_n":0}', "top_n", "at least 1"),
        (b'{"query":"q","docs":["a"],"top_n":-1}', "top_n", "at least 1"),
        (b'{"query":"q","docs":["a"],"top_n":1.5}', "top_n", "whole number"),
        (b'{"query":"q","docs":["a"],"top_n":true}', "top_n", "not a boolean"),
        (b'{"query":"q","docs":["a"],"top_n":"3"}', "top_n", "not a string"),
        (b'{"query":"q","docs":["a"],"return_docs":1}', "return_docs", "true or false"),
        (b'{"query":"q","docs":["a"],"raw_scores":"yes"}', "raw_scores", "true or false"),
        (b'{"query":"q","docs":["a"],"model":3}', "model", "must be a string"),
    ],
)
def test_a_bad_body_is_refused_and_the_field_named(
    gateway: Gateway, content: bytes, field: str | None, said: str
) -> None:
    answer = gateway.post("/rerank/v1", content=content)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    shape = answer.json()
    assert shape["request_id"] == answer.headers["x-request-id"]
    assert shape["error"]["code"] == "invalid_request"
    assert shape["error"].get("field") == field
    assert said in shape["error"]["message"]
    assert gateway.workers.visits == []


def test_a_long_broken_body_is_refused_without_a_second_look(gateway: Gateway) -> None:
    gateway.show(
        table(route("v1", "v1.1"), limits=dataclasses.replace(LIMITS, max_body_bytes=1_000_000))
    )

    answer = gateway.post(content=b'{"query":NaN,"docs":["' + b"a" * 300_000 + b'"]}')

    assert answer.status_code == 400
    assert "field" not in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/xml"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/octet-stream"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_another_media_type_is_refused(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = gateway.post(body=GOOD, headers=headers)

    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


def test_too_many_documents_are_refused(gateway: Gateway) -> None:
    answer = gateway.post(body={"query": "q", "docs": ["a"] * 101})

    assert answer.status_code == 413
    assert answer.json()["error"]["field"] == "docs"
    assert "101" in answer.json()["error"]["message"]


def test_a_body_that_says_it_is_too_long_is_refused_by_its_length(gateway: Gateway) -> None:
    answer = gateway.post(content=b"x" * 10_001)

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"


def test_a_length_with_many_zeros_in_front_is_that_length(gateway: Gateway) -> None:
    content = orjson.dumps(GOOD)
    headers = {"content-length": f"{len(content):05000}"}

    answer = gateway.post(content=content, headers=headers)

    assert answer.status_code == 200


def test_a_body_that_grows_too_long_is_refused_while_it_arrives(gateway: Gateway) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(50):
            sent += 1
            yield b" " * 1000

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(gateway.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/rerank", content=endless())

    answer = asyncio.run(ask())

    assert answer.status_code == 413
    assert sent == 50  # the rest was received and dropped, so that the sender reads the answer


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", "POST /rerank"),
        ("/nothing", "POST /rerank"),
        ("/rerankk", "POST /rerank"),
        ("/rerank/v2-m4", "the nearest is v2-m3 at /rerank/v2-m3"),
        ("/rerank/zzz", "GET /versions lists them"),
        ("/rerank/%00%ff", "GET /versions lists them"),
        ("/rerank/v1/more", "GET /versions lists them"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_not_found_and_the_nearest_named(
    gateway: Gateway, method: str, path: str, said: str
) -> None:
    gateway.show(table(route("v1", "v1.1"), route("v2-m3", "v2-m3.1")))

    answer = gateway.ask(method, path, content=orjson.dumps(GOOD))

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/rerank", {"POST"}),
        ("HEAD", "/rerank/v1", {"POST"}),
        ("PUT", "/rerank/v1", {"POST"}),
        ("OPTIONS", "/rerank/v1", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("DELETE", "/versions", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_refused_and_the_right_one_named(
    gateway: Gateway, method: str, path: str, allowed: set[str]
) -> None:
    answer = gateway.ask(method, path)

    assert answer.status_code == 405
    assert {word.strip() for word in answer.headers["allow"].split(",")} == allowed
    if method != "HEAD":
        assert answer.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (failure(429, "queue_full", "the queue holds 20000 pairs", "7"), 429, "overloaded"),
        (failure(500, "model_error", "NaN for docs[0]"), 500, "model_error"),
        (failure(504, "deadline_exceeded"), 504, "deadline_exceeded"),
        (failure(400, "invalid_request", "no"), 400, "invalid_request"),
        (failure(503, "unheard_of"), 500, "internal_error"),
        (Answer(200, b"not json", None), 500, "internal_error"),
        (Answer(200, b'{"raw":[1.0],"unit":[]}', None), 500, "internal_error"),
        (Answer(200, b'{"raw":[1.0,2.0],"unit":[1.0,2.0]}', None), 500, "internal_error"),
        (Answer(200, b'{"raw":[null],"unit":[0.5]}', None), 500, "model_error"),
    ],
)
def test_a_workers_error_is_passed_on_and_not_tried_elsewhere(
    gateway: Gateway, outcome: Answer, status: int, code: str
) -> None:
    gateway.show(table(route("v1", "v1.1", "v1.2", fallback=["v2"]), route("v2", "v2.1")))
    gateway.workers.behaviours = {"v1.1": outcome}

    answer = gateway.post(body=GOOD)

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert gateway.workers.visits == ["v1.1"]


@pytest.mark.parametrize(
    ("said", "expected"), [("7", "7"), ("99999999", "3600"), ("soon", "1"), (None, "1")]
)
def test_overload_says_when_to_try_again(gateway: Gateway, said: str | None, expected: str) -> None:
    gateway.workers.behaviours = {"v1.1": failure(429, "queue_full", retry_after=said)}

    assert gateway.post(body=GOOD).headers["retry-after"] == expected


def test_a_failure_of_our_own_is_a_500_and_its_log_holds_no_text(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(errand: Errand) -> Answer:
        raise ValueError(f"cannot score {errand.payload!r}")

    gateway.workers.behaviours = {"v1.1": explode}

    with caplog.at_level(logging.DEBUG):
        answer = gateway.post(body={"query": SECRET, "docs": [SECRET]})

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    record = next(r for r in caplog.records if r.name.startswith("rerank_server"))
    assert record.message == "request failed unexpectedly"
    assert "explode" in str(vars(record)["stack"])
    assert SECRET not in str([vars(record) for record in caplog.records])


@pytest.mark.parametrize(
    "content",
    [
        f'{{"query":"{SECRET}","docs":["{SECRET}",3]}}'.encode(),
        f'{{"query":"{SECRET}\\ud800","docs":[]}}'.encode(),
        f"{SECRET}".encode(),
        f'{{"query":"{SECRET}","docs":["{SECRET}"],"top_n":"{SECRET}"}}'.encode(),
    ],
)
def test_nothing_of_a_refused_request_is_logged_or_repeated(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = gateway.post(f"/rerank/{SECRET}", content=content)
        answer = gateway.post("/rerank", content=content)

    assert answer.status_code == 400
    assert SECRET not in answer.text
    assert SECRET not in str(
        [vars(record) for record in caplog.records if not record.name.startswith("httpx")]
    )
