"""Sends answers: scores, and errors in the request's dialect."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Message, Receive, Send

from rerank_server.errors import RerankServerError
from rerank_server.gateway.exchange import Exchange

_LINGER_S = 5.0  # how long a refused body is still received, so that its sender reads the answer

Headers = list[tuple[bytes, bytes]]


async def send_json(send: Send, body: bytes, headers: Headers | None = None) -> None:
    """Send a 200 answer."""
    await send(_start(200, body, headers or []))
    await send({"type": "http.response.body", "body": body})


async def send_error(
    receive: Receive,
    send: Send,
    exchange: Exchange,
    error: RerankServerError,
    headers: Headers | None = None,
) -> None:
    """Send an error, at once; then receive and drop what is left of the request's body.

    A server that closes with unread bytes in its socket makes the kernel reset the connection,
    and a client still sending would never see the answer.
    """
    rendered = exchange.dialect.render_error(error, exchange.request_id)
    headers = list(headers or [])
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    waits_for_continue = not exchange.body_is_read and b"expect" in exchange.headers
    if waits_for_continue:  # its body never comes, so the connection is of no further use
        headers.append((b"connection", b"close"))
        exchange.body_is_read = True
    await send(_start(rendered.status, rendered.body, headers))
    await send({"type": "http.response.body", "body": rendered.body, "more_body": True})
    if not exchange.body_is_read:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await _drop_body(receive)
        exchange.body_is_read = True
    await send({"type": "http.response.body", "body": b""})


async def _drop_body(receive: Receive) -> None:
    message = await receive()
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await receive()


def _start(status: int, body: bytes, headers: Headers) -> Message:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ],
    }
