"""The way to one worker under test."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Self

from rerank_server.core.routing import FallbackReason, Target
from rerank_server.gateway.upstream import Errand, Outcome, Refused, SocketUpstream
from tests.gateway.worker import Worker

LOST = Refused(FallbackReason.LOST)
PAYLOAD = b'{"query":"q","docs":["a"]}'


def errand(payload: bytes = PAYLOAD, timeout_s: float = 10.0, *, is_alone: bool = False) -> Errand:
    """Return an errand that has some seconds left."""
    return Errand(payload, "id-1", time.monotonic() + timeout_s, is_alone)


class Link:
    """An upstream and the worker behind it."""

    def __init__(self, directory: Path, backlog: int = 100) -> None:
        self.target = Target("v1.1", str(directory / "v1.1.sock"))
        self.worker = Worker(Path(self.target.socket), backlog)
        self.upstream = SocketUpstream()

    def send(self, sent: Errand | None = None) -> asyncio.Task[Outcome]:
        """Send an errand; what comes of it is the task's result."""
        return asyncio.ensure_future(self.upstream.score(self.target, sent or errand()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.upstream.close()
        self.worker.die()
