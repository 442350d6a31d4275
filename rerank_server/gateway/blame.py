"""Whether an arm of the traffic answers for how a request of its failed."""

from __future__ import annotations

from rerank_server.core.routing import RoutesTable
from rerank_server.errors import RerankServerError, ServerFullError, TooLargeError, WorkerLostError
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.gate import Hold


def is_arms_own(
    error: RerankServerError, exchange: Exchange, table: RoutesTable, hold: Hold
) -> bool:
    """Tell whether the arm answers for a failure that came after the split had chosen it.

    It does for all but these: a request that is too large for the default as well, one for which
    the server had no room, whoever was to answer, one that only processes of other versions died
    with, and one refused because it killed before.
    """
    match error:
        case TooLargeError():
            request = exchange.request
            return request is None or hold.is_taken_by(table.default, request)
        case ServerFullError():
            return False
        case WorkerLostError():
            return exchange.arm in error.versions
        case _:
            return True
