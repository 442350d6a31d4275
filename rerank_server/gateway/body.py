"""Receives a request's body within its limits and reads it as a JSON object."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import orjson
from starlette.types import Receive

from rerank_server.errors import (
    BadRequestError,
    RequestTimeoutError,
    UnsupportedMediaTypeError,
)
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.gate import Hold

_MEDIA_TYPES = frozenset(
    ("application/json", "text/json", "text/plain", "application/x-www-form-urlencoded")
)
_KNOWN_FIELDS = (
    *("query", "docs", "model", "top_n", "return_docs", "raw_scores", "documents", "texts"),
    *("passages", "input", "queries", "text_1", "text_2", "top_k"),
)
_DIAGNOSED_BYTES = 1 << 18  # parsing again in Python blocks the loop: about 1 ms for 256 KiB
_NOT_JSON = "the body is not valid JSON"


class ClientGoneError(Exception):
    """The client hung up; nobody waits for an answer."""


def check_media_type(exchange: Exchange) -> None:
    """Refuse a body that says it is something else than JSON.

    Clients often send JSON under the content type their library sets by itself, so plain text
    and forms are read as JSON too.

    Raises:
        UnsupportedMediaTypeError: another content type, or a compressed body.
    """
    media_type = (exchange.header(b"content-type") or "").partition(";")[0].strip().lower()
    is_json = media_type.startswith("application/") and media_type.endswith("+json")
    if media_type and media_type not in _MEDIA_TYPES and not is_json:
        raise UnsupportedMediaTypeError
    if (exchange.header(b"content-encoding") or "identity").lower() != "identity":
        raise UnsupportedMediaTypeError("send the body uncompressed")


async def receive_body(receive: Receive, exchange: Exchange, hold: Hold) -> bytes:
    """Return the whole body.

    Raises:
        TooLargeError: it is, or says it is, longer than the limit.
        OverloadedError: there is no room for it now.
        RequestTimeoutError: it did not arrive in time.
        ClientGoneError: the client hung up.
    """
    # Without zeros in front: Python refuses to read thousands of digits, the parser takes them.
    declared = exchange.headers.get(b"content-length", b"").lstrip(b"0")
    hold.expect(int(declared) if declared.isdigit() else 0)
    timeout_s = hold.limits.body_timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            return await _receive(receive, exchange, hold)
    except TimeoutError:
        raise RequestTimeoutError(f"the body did not arrive within {timeout_s:g} s") from None


async def _receive(receive: Receive, exchange: Exchange, hold: Hold) -> bytes:
    parts: list[bytes] = []
    while not exchange.body_is_read:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        exchange.body_is_read = not message.get("more_body", False)
        part = message.get("body", b"")
        hold.add(len(part))
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def parse_object(body: bytes) -> Mapping[str, object]:
    """Read the body as a JSON object in UTF-8.

    Raises:
        BadRequestError: it is not one; names the field at fault where that can be told. The
            message never holds text of the body.
    """
    if not body:
        raise BadRequestError("the body is empty; send a JSON object")
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        place = f"{error.msg} (line {error.lineno}, column {error.colno})"
        raise _diagnose(body, place) from None
    if not isinstance(parsed, dict):
        raise BadRequestError("the body must be a JSON object")
    return parsed


def _diagnose(body: bytes, place: str) -> BadRequestError:
    """Return the error for a body that is no strict JSON, with its field if one is to blame."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return BadRequestError(f"the body is not valid UTF-8 (at byte {error.start})")
    if len(body) > _DIAGNOSED_BYTES:
        return BadRequestError(f"{_NOT_JSON}: {place}")
    try:
        parsed = json.loads(body, parse_constant=_NotANumber)
    except (ValueError, RecursionError):
        return BadRequestError(f"{_NOT_JSON}: {place}")
    fields = parsed if isinstance(parsed, dict) else {}
    for field in _KNOWN_FIELDS:
        value = fields.get(field)
        for path, leaf in ((field, value), *_entries(field, value)):
            if isinstance(leaf, _NotANumber | float):
                message = f"{path}: NaN and Infinity are not JSON"
                if isinstance(leaf, _NotANumber) or leaf in (float("inf"), float("-inf")):
                    return BadRequestError(message, field=path)
            if isinstance(leaf, str) and not _is_unicode(leaf):
                message = f"{path}: a lone surrogate is not text"
                return BadRequestError(message, field=path)
    return BadRequestError(f"{_NOT_JSON}: {place}")


class _NotANumber:
    """Stands for the literals NaN, Infinity and -Infinity."""

    def __init__(self, literal: str) -> None:
        self.literal = literal


def _entries(field: str, value: object) -> list[tuple[str, object]]:
    if not isinstance(value, list):
        return []
    return [(f"{field}[{index}]", item) for index, item in enumerate(value)]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
