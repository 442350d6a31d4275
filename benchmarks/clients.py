"""Clients that ask a server over and over: closed loops over keep-alive connections.

Lean on purpose: client and server share the machine's cores.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LIMIT = 16 << 20  # bytes of a line asyncio reads at most; answers come with a Content-Length
_CHUNKED = b"transfer-encoding: chunked"


@dataclass(frozen=True, slots=True)
class Load:
    """What one server was asked, and how it did."""

    docs: int
    seconds: float
    """From the first request until the last answer."""
    latencies: Sequence[float]
    failures: int
    answers: Sequence[Mapping[str, object]]
    """One per request, in the order of the bodies."""

    @property
    def docs_s(self) -> float:
        """Return the documents scored in a second."""
        return self.docs / self.seconds

    def latency(self, share: float) -> float:
        """Return a quantile of the requests' times, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def p50(self) -> float:
        """Return the median of the requests' times, in seconds."""
        return statistics.median(self.latencies)


def ask_all(port: int, path: str, bodies: Sequence[bytes], docs: int, clients: int) -> Load:
    """Let so many clients share the bodies, each sending its next when it has its answer.

    Blocks until the last answer. A body is sent once; every answer but a 200 is a failure.
    """
    return asyncio.run(_ask_all(port, path, bodies, docs, clients))


async def _ask_all(port: int, path: str, bodies: Sequence[bytes], docs: int, clients: int) -> Load:
    waiting = list(enumerate(bodies))[::-1]
    latencies: list[float] = []
    answers: list[Mapping[str, object]] = [{} for _ in bodies]
    failures = 0

    async def client() -> None:
        nonlocal failures
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LIMIT)
        while waiting:
            index, body = waiting.pop()
            began = time.perf_counter()
            writer.write(
                b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
            )
            status, answer = await _read(reader)
            latencies.append(time.perf_counter() - began)
            failures += status != 200
            answers[index] = json.loads(answer) if status == 200 else {}
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Load(docs, time.perf_counter() - began, latencies, failures, answers)


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(None, 2)[1])
    if _CHUNKED not in head:
        length = int(head.partition(b"content-length:")[2].split(None, 1)[0])
        return status, await reader.readexactly(length)
    parts: list[bytes] = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return status, b"".join(parts)
