"""Jobs on their way to the tokenizing thread: copies wait until nothing else does."""

from __future__ import annotations

import threading
from collections import deque

from rerank_workers.jobs import Job


class Inbox:
    """A queue with one reader; any thread may put."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: deque[Job] = deque()
        self._copies: deque[Job] = deque()
        self._is_closed = False

    def put(self, job: Job) -> None:
        """Add a job."""
        with self._changed:
            (self._copies if job.is_copy else self._requests).append(job)
            self._changed.notify()

    def get(self) -> Job | None:
        """Wait for the next job and return it; None once the inbox is closed."""
        with self._changed:
            while not (self._requests or self._copies or self._is_closed):
                self._changed.wait()
            if self._is_closed:
                return None
            return (self._requests or self._copies).popleft()

    def get_request(self) -> Job | None:
        """Return the next job that is no copy, if one waits; never blocks."""
        with self._changed:
            return self._requests.popleft() if self._requests else None

    def close(self) -> None:
        """Give out nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
