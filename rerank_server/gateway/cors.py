"""Lets pages of the configured origins ask from a browser."""

from __future__ import annotations

from collections.abc import Mapping

from rerank_server.core.access import Access

Headers = list[tuple[bytes, bytes]]

_TAKEN = (
    b"api-key, authorization, content-type, traceparent, tracestate, x-api-key, "
    b"x-pinecone-api-version, x-request-id, x-request-timeout, "
    b"x-rerank-key, x-rerank-mirror, x-rerank-strict, x-rerank-version"
)
_SHOWN = (
    b"retry-after, server-timing, x-request-id, "
    b"x-rerank-cascade, x-rerank-degraded, x-rerank-fallback, x-rerank-traffic, x-rerank-version"
)
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", _TAKEN),
    (b"access-control-max-age", b"600"),
]


def headers_for(access: Access, sent: Mapping[bytes, bytes]) -> Headers:
    """Return what tells a browser that its page may read the answer; empty if it may not."""
    if not access.cors_origins:
        return []
    origin = sent.get(b"origin")
    is_let_in = origin is not None and (
        "*" in access.cors_origins or origin.decode("latin-1") in access.cors_origins
    )
    if origin is None or not is_let_in:
        return [(b"vary", b"origin")]
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _SHOWN),
        (b"vary", b"origin"),
    ]


def preflight(access: Access, method: str, sent: Mapping[bytes, bytes]) -> Headers | None:
    """Return the answer's headers if the request only asks whether another may follow."""
    if method != "OPTIONS" or b"access-control-request-method" not in sent:
        return None
    return _PREFLIGHT if len(headers_for(access, sent)) > 1 else None
