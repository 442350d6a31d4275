"""Scores queued jobs batch by batch and finds the one that is to blame when a batch fails.

Belongs to the device thread alone, save for `batch_started_at`, which the beats read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rerank_workers.batcher import Batcher, BatchLimits, Pair
from rerank_workers.failures import DeviceBrokenError, Failure, one_line
from rerank_workers.jobs import BatchDone, Broken, Event, Job, JobFailed, Scored
from rerank_workers.long_docs import Cut
from rerank_workers.scorer import DeviceMemoryError, Item, Scorer
from rerank_workers.scoring import Model, ModelError
from rerank_workers.wire import CAUSE_GPU_ERROR, EXIT_CRASHED, EXIT_NO_DEVICE_MEMORY

COPY_SHARE = 4
"""A copy's batch is so many times smaller: a request that comes meanwhile waits that much less."""


@dataclass(eq=False, slots=True)
class Work:
    """An encoded job and what is scored of it so far."""

    job: Job
    items: list[Item]
    tokenize_s: float = 0.0
    raw: list[float] = field(default_factory=list)
    missing: int = 0
    inference_s: float = 0.0
    cut: Cut | None = None
    """How the items are windows of the documents; None: each item is a document."""

    def __post_init__(self) -> None:
        self.raw = [0.0] * len(self.items)
        self.missing = len(self.items)


class Device:
    """The queue of encoded jobs and the model that scores them."""

    def __init__(
        self, model: Model, batch_size: int, max_batch_tokens: int, clock: Callable[[], float]
    ) -> None:
        self._model = model
        self._clock = clock
        mixes = model.scorer.mixes_requests and not model.whole_requests
        pairs = batch_size * getattr(model.scorer, "batches_at_once", 1)
        self._batcher: Batcher[Work] = Batcher(
            BatchLimits(pairs, max_batch_tokens, mixes, model.whole_requests)
        )
        self._copies: Batcher[Work] = Batcher(
            BatchLimits(
                max(1, batch_size // COPY_SHARE),
                max(1, max_batch_tokens // COPY_SHARE),
                mixes,
                model.whole_requests,
            )
        )
        self._works: dict[Job, Work] = {}
        self.batch_started_at: float | None = None

    @property
    def scorer(self) -> Scorer:
        """The version's own."""
        return self._model.scorer

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be scored."""
        return self._batcher.is_empty and self._copies.is_empty

    def add(self, work: Work) -> None:
        """Queue an encoded job, unless its waiter has left meanwhile."""
        job = work.job
        if not job.is_gone:
            self._works[job] = work
            self._queue_of(job).add(work, work.items, deadline=job.deadline, alone=job.alone)

    def drop(self, job: Job) -> None:
        """Forget a job; what is in the running batch is scored to no effect."""
        work = self._works.pop(job, None)
        if work is not None:
            self._queue_of(job).drop(work)

    def score_next(self) -> list[Event]:
        """Take one batch, score it, and return what came of it. Blocks.

        When a batch of several jobs fails, each job is scored again by itself, so that only the
        one at fault fails. Copies are scored while nothing else waits.
        """
        now = self._clock()
        batch = self._batcher.take(now) or self._copies.take(now)
        if not batch:
            return []
        try:
            return self._score(batch)
        except DeviceMemoryError as error:
            reason = f"the device has no room for a single pair: {error}"
            return [Broken(Failure(one_line(reason), EXIT_NO_DEVICE_MEMORY))]
        except DeviceBrokenError as error:
            return [Broken(Failure(one_line(str(error)), EXIT_CRASHED, CAUSE_GPU_ERROR))]
        finally:
            self.batch_started_at = None

    def _score(self, batch: Sequence[Pair[Work]]) -> list[Event]:
        self.batch_started_at = started = self._clock()
        failure = None
        try:
            scores = self._model.score([pair.item for pair in batch])
        except ModelError as error:
            failure = error
        except DeviceMemoryError as error:
            if not batch[0].work.job.is_copy:
                raise
            # No reason to leave: what requests bring may well fit.
            failure = ModelError(f"the device has no room: {error}", "no device memory")
        duration_s = self._clock() - started
        works = {pair.work: None for pair in batch}
        for work in works:
            work.inference_s += duration_s
        if failure is None:
            for pair, score in zip(batch, scores, strict=True):
                pair.work.raw[pair.index] = score
                pair.work.missing -= 1
            done = BatchDone(len(batch), sum(pair.tokens for pair in batch), duration_s)
            return [done, *(event for work in works for event in self._finish(work))]
        if len(works) == 1:
            return [self._fail(batch[0].work, failure)]
        events: list[Event] = []
        for work in works:
            events += self._score([pair for pair in batch if pair.work is work])
        return events

    def _finish(self, work: Work) -> list[Event]:
        """Report a job all of whose pairs are scored, if anyone still waits for it."""
        if work.missing or self._works.get(work.job) is not work:
            return []
        raw, won = work.raw, None
        if work.cut is not None:
            raw, won = work.cut.best(work.raw)
        try:
            unit = self._model.unit(raw)
        except ModelError as error:
            return [self._fail(work, error)]
        del self._works[work.job]
        if work.cut is not None:
            tokens, truncated = work.cut.tokens(), work.cut.truncated()
        else:
            tokens = [item.tokens for item in work.items]
            truncated = [index for index, item in enumerate(work.items) if item.truncated]
        times = (work.tokenize_s, work.inference_s)
        return [Scored(work.job, raw, unit, tokens, truncated, *times, won)]

    def _queue_of(self, job: Job) -> Batcher[Work]:
        return self._copies if job.is_copy else self._batcher

    def _fail(self, work: Work, error: ModelError) -> JobFailed:
        self.drop(work.job)
        return JobFailed(work.job, str(error), error.site)
