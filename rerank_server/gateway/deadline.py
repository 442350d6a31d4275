"""How long a request may take: what the client asks for, at most what the config allows."""

from __future__ import annotations

import math

from rerank_server.errors import BadRequestError

HEADER = b"x-request-timeout"
_FIELD = "X-Request-Timeout"


def timeout_s(asked: bytes | str | None, most_s: float) -> float:
    """Return the seconds a request may take; `asked` is its header, which may only lower them.

    Raises:
        BadRequestError: the header is no positive number of seconds.
    """
    if asked is None:
        return most_s
    text = asked.decode("latin-1") if isinstance(asked, bytes) else asked
    try:
        seconds = math.nan if "_" in text else float(text)  # Python takes 1_0 for ten
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadRequestError(f"{_FIELD} must be a positive number of seconds", field=_FIELD)
    return min(seconds, most_s)
