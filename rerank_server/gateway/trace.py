"""Where a request belongs, and where its time went: W3C trace context, Server-Timing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rerank_server.gateway.dialect import ScoreResult

_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[!-~]*)?")
_MOST_STATE = 512  # bytes, what the recommendation says a server should at least pass on


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace a client's request belongs to: https://www.w3.org/TR/trace-context/."""

    parent: bytes
    """The whole `traceparent`."""
    state: bytes = b""
    """The `tracestate`, if there is one."""

    @property
    def trace_id(self) -> str:
        """Return the trace's own id, 32 hexadecimal digits."""
        return self.parent[3:35].decode("ascii")

    def header_line(self) -> bytes:
        """Return the lines of a request's head that pass it on."""
        state = b"tracestate: %b\r\n" % self.state if self.state else b""
        return b"traceparent: %b\r\n%b" % (self.parent, state)


def trace_of(headers: Mapping[bytes, bytes]) -> Trace | None:
    """Return the trace a request belongs to, None if it brings none, or a broken one."""
    parent = headers.get(b"traceparent")
    if parent is None:
        return None
    found = _PARENT.fullmatch(parent)
    if found is None or not found[1].strip(b"0") or not found[2].strip(b"0"):
        return None
    state = headers.get(b"tracestate", b"")
    is_fit = len(state) <= _MOST_STATE and state.isascii() and state.decode("ascii").isprintable()
    return Trace(parent, state if is_fit else b"")


def server_timing(result: ScoreResult) -> tuple[bytes, bytes]:
    """Return the header that tells browsers and tracers where the time went, in milliseconds."""
    scores = result.scores
    said = (
        f"queue;dur={scores.queue_ms:.3f}, tokenize;dur={scores.tokenize_ms:.3f}, "
        f"inference;dur={scores.inference_ms:.3f}, total;dur={result.total_ms:.3f}"
    )
    return b"server-timing", said.encode("ascii")
