"""One HTTP request as it passes through the gateway: what it is called and what became of it."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from starlette.types import Scope

from rerank_server.gateway.dialect import Dialect, Fallback, ScoreRequest, Scores
from rerank_server.gateway.native import NATIVE
from rerank_server.gateway.table import View
from rerank_server.gateway.trace import Trace

_SCOPE_KEY = "rerank_server.exchange"
_MAX_ID_LENGTH = 128


@dataclass(slots=True)
class Exchange:
    """The state of one request; written by the middleware and the endpoint that serves it."""

    request_id: str
    started: float
    """Monotonic clock, seconds."""
    headers: Mapping[bytes, bytes]
    """Names in lower case; of a repeated header the last."""
    view: View | None
    """The routes table as the request began."""
    dialect: Dialect = NATIVE
    """In which errors are written; the body decides."""
    version: str | None = None
    """The version counted in metrics: a configured name or "unknown"; None: not counted."""
    arm: str | None = None
    """The version that the split of the traffic decided, the default included; None where it
    decided nothing."""
    is_evidence: bool = True
    """Whether what became of it says something of its arm."""
    patience_s: float = math.inf
    """How long the client would wait, by its own word."""
    status: int = 0
    """Status of the answer; 0 while there is none, and for good if the client hung up."""
    duration_s: float = 0.0
    """Until the answer began, or the client hung up."""
    fallback: Fallback | None = None
    request: ScoreRequest | None = None
    """What is to be scored; None until the body was read."""
    pairs: int = 0
    """Documents to be scored."""
    scores: Scores | None = None
    """What the worker made of it; None while there is nothing, or an error."""
    trace: Trace | None = None
    """Of the client's trace, if it sent one."""
    body_is_read: bool = False
    """Whether the whole body was received."""

    def header(self, name: bytes) -> str | None:
        """Return a header's text without blanks around it, None when missing or empty."""
        value = self.headers.get(name)
        return value.decode("latin-1").strip() or None if value is not None else None

    def text(self, name: bytes) -> str | None:
        """Return a header's text as UTF-8, for what may be in any language.

        Bytes that are not are escaped, as `surrogateescape` does.
        """
        value = self.headers.get(name)
        return None if value is None else value.strip().decode("utf-8", "surrogateescape") or None


def attach(scope: Scope, exchange: Exchange) -> None:
    """Put the exchange where everything below the middleware finds it."""
    scope[_SCOPE_KEY] = exchange


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange of a request's ASGI scope."""
    return cast(Exchange, scope[_SCOPE_KEY])


class RequestIds:
    """Gives each request its id: the client's if it is fit to print, else a new one."""

    def __init__(self) -> None:
        # A random beginning per process and a count: unique without asking the kernel each time.
        self._prefix = os.urandom(6).hex()
        self._count = itertools.count(1)

    def of(self, sent: bytes | None) -> str:
        """Return the request's id, given the client's X-Request-ID."""
        if sent and len(sent) <= _MAX_ID_LENGTH and sent.isascii():
            text = sent.decode("ascii")
            if text.isprintable() and not text.isspace():
                return text
        return f"{self._prefix}-{next(self._count):x}"
