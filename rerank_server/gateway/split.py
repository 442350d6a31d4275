"""What a request brings for the split of the traffic, and what its answer says of it."""

from __future__ import annotations

from rerank_server.core.traffic import Split, shares
from rerank_server.gateway.answers import Headers
from rerank_server.gateway.exchange import Exchange

_KEY = b"x-rerank-key"


def key_of(exchange: Exchange) -> str:
    """Return what decides where a request belongs: its key, else its id.

    A key is a client's word for one of its users: it is hashed, and goes nowhere else.
    """
    return exchange.text(_KEY) or exchange.request_id


def split_of(exchange: Exchange) -> Split | None:
    """Return what the split decided for a request; None where it decided nothing."""
    if exchange.arm is None or exchange.view is None:
        return None
    table = exchange.view.table
    return Split(
        arm=exchange.arm,
        share=shares(table.traffic, table.default)[exchange.arm],
        by="request" if exchange.text(_KEY) is None else "key",
        source=table.traffic.source,
    )


def headers(split: Split | None) -> Headers:
    """Return the header that tells the client."""
    if split is None:
        return []
    said = f"{split.arm}; share={split.share:.6g}; by={split.by}; source={split.source}"
    return [(b"x-rerank-traffic", said.encode())]
