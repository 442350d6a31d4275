"""The two threads of a worker: one tokenizes, one owns the device and the queue of batches.

The device thread imports and loads the model too, so that all of the model's code that touches
the device runs in one thread. It takes the next batch the moment it is free; nothing waits for a
timer. The event loop speaks to both threads through their mailboxes and hears of results through
`post`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from rerank_workers import long_docs
from rerank_workers.chunks import Span
from rerank_workers.device import Device, Work
from rerank_workers.failures import DeviceBrokenError, Failure, failure_of, named, one_line
from rerank_workers.inbox import Inbox
from rerank_workers.jobs import Broken, Event, Job, JobFailed, Loaded, Progressed
from rerank_workers.long_docs import Cut
from rerank_workers.preprocess import clean
from rerank_workers.scorer import DeviceMemoryError, Item, Scorer
from rerank_workers.scoring import Model, ModelError
from rerank_workers.wire import CAUSE_GPU_ERROR, EXIT_CRASHED

log = logging.getLogger(__name__)

COPY_AT_ONCE = 64
"""Documents of a copy that are tokenized in one go: 25 ms at 2,600 a second. A request waits for
no more of them."""
COPY_CHARS_AT_ONCE = 32 << 10
"""Characters of those, the query's counted with each document: 10 ms of English at 3.3 MB/s. Only
a document that is longer by itself is tokenized beyond that; the gateway copies none over 64 Ki."""

Post = Callable[[Sequence[Event]], None]
"""Hand events to the event loop, from any thread, without blocking."""
Load = Callable[[Callable[[str], None]], Model]
"""Import, load and warm up the model, naming each stage as it begins. Blocks."""


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """How requests are prepared and cut into batches."""

    batch_size: int
    max_batch_tokens: int
    clean: bool = False
    chunk: bool = False
    """Whether documents that do not fit are scored window by window, not cut off."""


@dataclass(frozen=True, slots=True)
class _Dropped:
    job: Job


@dataclass(frozen=True, slots=True)
class _Closed:
    pass


class Runner:
    """Scores jobs for the event loop; no method blocks."""

    def __init__(
        self,
        load: Load,
        limits: RunnerLimits,
        post: Post,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._limits = limits
        self._post = post
        self._clock = clock
        self._device: Device | None = None
        self._texts = Inbox()
        self._mailbox: queue.SimpleQueue[Work | _Dropped | _Closed] = queue.SimpleQueue()

    @property
    def batch_started_at(self) -> float | None:
        """When the batch on the device began; None between batches."""
        return None if self._device is None else self._device.batch_started_at

    @property
    def scorer(self) -> Scorer | None:
        """The version's scorer; None until it is loaded."""
        return None if self._device is None else self._device.scorer

    def start(self) -> None:
        """Begin to load; `Loaded` or `Broken` is posted when that is over."""
        self._spawn(self._own_device, "device")

    def submit(self, job: Job) -> None:
        """Queue a job; `Scored` or `JobFailed` is posted for it unless it is dropped before."""
        self._texts.put(job)

    def drop(self, job: Job) -> None:
        """Score nothing more of a job whose `is_gone` was just set."""
        self._mailbox.put(_Dropped(job))

    def close(self) -> None:
        """Tell the threads to end after what they are doing."""
        self._texts.close()
        self._mailbox.put(_Closed())

    def _spawn(self, body: Callable[[], None], name: str) -> None:
        # A daemon: a thread stuck in the model's code must not keep the process from leaving.
        threading.Thread(target=self._guard, args=(body,), name=name, daemon=True).start()

    def _guard(self, body: Callable[[], None]) -> None:
        """Run a thread's body; the death of a thread is the worker's failure, never silent."""
        try:
            body()
        except BaseException as error:
            log.error("thread died", extra={"error": type(error).__name__}, exc_info=error)
            self._post([Broken(Failure(one_line(f"worker: {named(error)}"), EXIT_CRASHED))])

    def _own_device(self) -> None:
        try:
            model = self._load(lambda stage: self._post([Progressed(stage)]))
            facts = {str(key): str(value) for key, value in model.scorer.info.items()}
        except (Exception, SystemExit) as error:
            log.error("version failed to start", exc_info=error)
            self._post([Broken(failure_of(error))])
            return
        limits = self._limits
        device = Device(model, limits.batch_size, limits.max_batch_tokens, self._clock)
        self._device = device
        self._spawn(lambda: self._tokenize(model), "tokenize")
        self._post([Loaded(facts)])
        while self._receive(device):
            events = device.score_next()
            if events:
                self._post(events)

    def _receive(self, device: Device) -> bool:
        """Read the mailbox until it is empty; wait for the first letter only when idle."""
        wait = device.is_idle
        while True:
            try:
                letter = self._mailbox.get(block=wait)
            except queue.Empty:
                return True
            wait = False
            match letter:
                case Work():
                    device.add(letter)
                case _Dropped(job):
                    device.drop(job)
                case _Closed():
                    return False
                case _:
                    assert_never(letter)

    def _tokenize(self, model: Model) -> None:
        while (job := self._texts.get()) is not None:
            self._encode(model, job)

    def _encode(self, model: Model, job: Job) -> None:
        """Hand an encoded job to the device, or post what went wrong with it."""
        is_split = job.is_copy and not model.whole_requests
        parts = _parts(job.query, job.docs) if is_split else [job.docs]
        items: list[Item] = []
        spans: list[tuple[Span, ...]] = []
        tokenize_s = 0.0
        try:
            for docs in parts:
                self._encode_requests_before(model, job)
                if job.is_gone:
                    return
                began = self._clock()
                found, cuts = self._encoded(model, job.query, docs)
                items += found
                spans += cuts
                tokenize_s += self._clock() - began
        except ModelError as error:
            self._post([JobFailed(job, str(error), error.site)])
        except DeviceMemoryError as error:
            self._post([JobFailed(job, f"encode: {error}", "encode: no device memory")])
        except DeviceBrokenError as error:
            self._post([Broken(Failure(one_line(str(error)), EXIT_CRASHED, CAUSE_GPU_ERROR))])
        else:
            cut = Cut(items, tuple(spans)) if self._limits.chunk else None
            self._mailbox.put(Work(job, items, tokenize_s, cut=cut))

    def _encode_requests_before(self, model: Model, job: Job) -> None:
        """Let what came meanwhile pass, if the job is a copy."""
        while job.is_copy and (request := self._texts.get_request()) is not None:
            self._encode(model, request)

    def _encoded(
        self, model: Model, query: str, docs: Sequence[str]
    ) -> tuple[Sequence[Item], Sequence[tuple[Span, ...]]]:
        """Return the items, and the windows of each document where long ones are cut."""
        if self._limits.clean:
            query, docs = clean(query), [clean(doc) for doc in docs]
        if not self._limits.chunk:
            return model.encode(query, docs), ()
        cut = long_docs.cut(model.encode, query, docs)
        return cut.items, cut.spans


def _parts(query: str, docs: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut documents into runs that are tokenized fast, of one document at least."""
    start = chars = 0
    for end, doc in enumerate(docs):
        chars += len(query) + len(doc)
        if end > start and (end - start == COPY_AT_ONCE or chars > COPY_CHARS_AT_ONCE):
            yield docs[start:end]
            start, chars = end, len(query) + len(doc)
    yield docs[start:]
