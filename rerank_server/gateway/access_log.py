"""Writes one line a request: who answered, how much, how long. Never texts, keys or headers."""

from __future__ import annotations

import logging

from rerank_server.gateway.exchange import Exchange

log = logging.getLogger(__name__)


def write(exchange: Exchange) -> None:
    """Log a finished request: score requests as news, looks at pages only when debugging."""
    is_score = exchange.version is not None
    level = logging.INFO if is_score else logging.DEBUG
    if log.isEnabledFor(level):
        log.log(level, "request", extra=_score(exchange) if is_score else _page(exchange))


def _page(exchange: Exchange) -> dict[str, object]:
    return {
        "request_id": exchange.request_id,
        "status": exchange.status,
        "total_ms": round(exchange.duration_s * 1000, 3),
    }


def _score(exchange: Exchange) -> dict[str, object]:
    fields = _page(exchange)
    fields["version"] = exchange.version
    fields["pairs"] = exchange.pairs
    scores, fallback = exchange.scores, exchange.fallback
    if scores is not None:
        fields["tokens"] = sum(scores.tokens)
        fields["queue_ms"] = scores.queue_ms
        fields["tokenize_ms"] = scores.tokenize_ms
        fields["inference_ms"] = scores.inference_ms
    if exchange.arm is not None:
        fields["arm"] = exchange.arm
    if fallback is not None:
        fields["fallback_from"] = fallback.asked
        fields["fallback_reason"] = fallback.reason.value
    if exchange.trace is not None:
        fields["trace_id"] = exchange.trace.trace_id
    return fields
