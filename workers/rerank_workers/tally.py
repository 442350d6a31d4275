"""The worker's cumulative counters, as its beats carry them; they never fall."""

from __future__ import annotations

from rerank_workers.histogram import Histogram
from rerank_workers.jobs import BatchDone, JobFailed, Scored

ERRORS_IN_A_ROW = 20
"""Model errors without a scored request between them that make the worker unhealthy."""


class Tally:
    """Counts what the device thread reports. The event loop is its one writer."""

    def __init__(self) -> None:
        self.requests = 0
        self.pairs = 0
        self.tokens = 0
        self.errors = 0
        self.batches = 0
        self.busy_s = 0.0
        self.durations = Histogram()
        self._errors_in_a_row = 0
        self._last_site = ""

    @property
    def unhealthy(self) -> str | None:
        """Why this worker should be replaced: model errors without end."""
        if self._errors_in_a_row < ERRORS_IN_A_ROW:
            return None
        return f"{self._errors_in_a_row} model errors in a row, last: {self._last_site}"

    @property
    def seconds_per_pair(self) -> float:
        """Mean device time of one pair so far; 0 before the first."""
        return self.busy_s / self.pairs if self.pairs else 0.0

    def count_batch(self, batch: BatchDone) -> None:
        """Count a finished batch."""
        self.batches += 1
        self.pairs += batch.pairs
        self.tokens += batch.tokens
        self.busy_s += batch.duration_s

    def count_scored(self, scored: Scored) -> None:
        """Count a request that has its scores; a copy is none."""
        if not scored.job.is_copy:
            self.requests += 1
            self.durations.add(scored.inference_s)
            self._errors_in_a_row = 0

    def count_failed(self, failed: JobFailed) -> None:
        """Count a request on which the model failed; a copy is none, and may cost no worker."""
        if not failed.job.is_copy:
            self.requests += 1
            self.errors += 1
            self._errors_in_a_row += 1
            self._last_site = failed.site

    def fields(self) -> dict[str, object]:
        """Return the counters under their names in a beat."""
        return {
            "requests": self.requests,
            "pairs": self.pairs,
            "tokens": self.tokens,
            "errors": self.errors,
            "batches": self.batches,
            "duration_sum_s": round(self.durations.sum_s, 6),
            "duration_count": self.durations.count,
            "duration_buckets": self.durations.buckets(),
            "unhealthy": self.unhealthy,
        }
