"""Steady load on a server, and the client's own record of every answer."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import httpx


@dataclass(frozen=True, slots=True)
class Record:
    """One request as its client saw it."""

    asked: str
    status: int
    """HTTP status; 0 when the connection failed."""
    served: str
    fallback: str
    seconds: float
    at: float
    error: str = ""
    degraded: str = ""
    was_cut: bool = False
    """Its connection died without an answer, and the client sent it again."""


class Load:
    """Clients that ask one version each, over and over, until the block ends."""

    def __init__(
        self,
        url: str,
        versions: Sequence[str],
        *,
        pause_s: float = 0.01,
        retry_cut: bool = False,
    ) -> None:
        """With `retry_cut`, a request whose connection was cut is sent once more, and counted."""
        self._url = url
        self._retry_cut = retry_cut
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._records: list[Record] = []
        self._served = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(version, keep_alive), name=f"load-{version}")
            for version in versions
            for keep_alive in (True, False)
        ]

    @property
    def records(self) -> list[Record]:
        """Return every answer so far."""
        with self._served:
            return list(self._records)

    def wait_for(self, more: int, timeout_s: float = 30.0) -> None:
        """Wait until so many further requests were answered."""
        with self._served:
            target = len(self._records) + more
            reached = self._served.wait_for(lambda: len(self._records) >= target, timeout_s)
        assert reached, "the load does not get answers"

    def failures(self) -> list[Record]:
        """Return the answers that were not 200."""
        return [record for record in self.records if record.status != 200]

    def wrong(self) -> list[Record]:
        """Return the answers by another version than asked, without saying so."""
        return [
            r for r in self.records if r.status == 200 and r.served != r.asked and not r.fallback
        ]

    def summary(self) -> Counter[tuple[str, int, str]]:
        """Count the answers by version asked, status and version that served."""
        return Counter((r.asked, r.status, r.served) for r in self.records)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait_for(len(self._threads) * 3)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, version: str, keep_alive: bool) -> None:
        client = httpx.Client(base_url=self._url, timeout=20.0)
        while not self._stop.wait(self._pause_s):
            if not keep_alive:
                client.close()
                client = httpx.Client(base_url=self._url, timeout=20.0)
            record = self._ask(client, version)
            if record.status == 0 and self._retry_cut:
                record = replace(self._ask(client, version), was_cut=True)
            self._note(record)
        client.close()

    def _ask(self, client: httpx.Client, version: str) -> Record:
        began = time.monotonic()
        try:
            answer = client.post(f"/rerank/{version}", json={"query": "q", "docs": ["a", "b"]})
        except httpx.HTTPError as error:
            took = time.monotonic() - began
            return Record(version, 0, "", "", took, began, repr(error))
        return Record(
            version,
            answer.status_code,
            answer.headers.get("X-Rerank-Version", ""),
            answer.headers.get("X-Rerank-Fallback", ""),
            time.monotonic() - began,
            began,
            "" if answer.status_code == 200 else answer.text[:300],
            answer.headers.get("X-Rerank-Degraded", ""),
        )

    def _note(self, record: Record) -> None:
        with self._served:
            self._records.append(record)
            self._served.notify_all()
