from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from rerank_workers.jobs import BatchDone, Broken, Event, Job, JobFailed, Loaded, Progressed, Scored
from rerank_workers.runner import Load, Runner, RunnerLimits
from rerank_workers.scorer import DeviceMemoryError, Item
from rerank_workers.scoring import Model
from rerank_workers.wire import EXIT_CRASHED, EXIT_WOULD_FAIL_AGAIN

DEADLINE_S = 10.0


@dataclass(frozen=True)
class Text:
    text: str
    tokens: int = 1
    truncated: bool = False


@dataclass
class Gated:
    """Says when a batch began, and waits until it may end."""

    mixes_requests: bool = True
    began: queue.SimpleQueue[list[str]] = field(default_factory=queue.SimpleQueue)
    gate: queue.SimpleQueue[None] = field(default_factory=queue.SimpleQueue)
    encoded: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    holds_encoding: bool = False
    may_encode: queue.SimpleQueue[None] = field(default_factory=queue.SimpleQueue)

    @property
    def info(self) -> Mapping[str, str]:
        return {"family": "gated"}

    def encode(self, query: str, docs: Sequence[str]) -> Sequence[Item]:
        self.encoded.put(query)
        if self.holds_encoding:
            self.may_encode.get(timeout=DEADLINE_S)
        if query == "memory":
            raise DeviceMemoryError("no room")
        if query == "raise":
            raise ValueError("no tokens")
        if query == "stop":
            raise KeyboardInterrupt
        return [Text(doc, 1 + min(len(doc), 20), len(doc) > 20) for doc in docs]

    def score(self, items: Sequence[Item]) -> Sequence[float]:
        self.began.put([item.text for item in items if isinstance(item, Text)])
        self.gate.get(timeout=DEADLINE_S)
        return [0.5] * len(items)

    def to_unit(self, raw: Sequence[float]) -> Sequence[float]:
        return raw


@dataclass
class Bench:
    """A runner and the events it posted."""

    runner: Runner
    model: Gated
    events: queue.SimpleQueue[Event]

    def next(self) -> Event:
        return self.events.get(timeout=DEADLINE_S)

    def began(self) -> list[str]:
        return self.model.began.get(timeout=DEADLINE_S)

    def encoded(self) -> str:
        return self.model.encoded.get(timeout=DEADLINE_S)


Build = Callable[..., Bench]


@pytest.fixture
def build() -> Iterator[Build]:
    benches: list[Bench] = []

    def make(
        load: Load | None = None,
        clean: bool = False,
        chunk: bool = False,
        holds_encoding: bool = False,
    ) -> Bench:
        model = Gated(holds_encoding=holds_encoding)
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()

        def post(batch: Sequence[Event]) -> None:
            for event in batch:
                events.put(event)

        limits = RunnerLimits(batch_size=2, max_batch_tokens=100, clean=clean, chunk=chunk)
        bench = Bench(Runner(load or (lambda progress: Model(model)), limits, post), model, events)
        benches.append(bench)
        bench.runner.start()
        return bench

    yield make
    for bench in benches:
        bench.runner.close()
        for _ in range(10):
            bench.model.gate.put(None)
            bench.model.may_encode.put(None)
    for thread in threading.enumerate():
        if thread.name in ("device", "tokenize"):
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


def job(number: int, *docs: str, query: str = "q") -> Job:
    return Job(number, query, docs, 0.0)


def test_the_stages_of_a_start_are_posted_in_order(build: Build) -> None:
    def load(progress: Callable[[str], None]) -> Model:
        progress("import")
        progress("load")
        return Model(Gated())

    bench = build(load)

    events = [bench.next(), bench.next(), bench.next()]
    assert events == [Progressed("import"), Progressed("load"), Loaded({"family": "gated"})]


def test_a_start_that_fails_is_posted_with_its_reason(build: Build) -> None:
    def load(progress: Callable[[str], None]) -> Model:
        raise ImportError("No module named 'foo'")

    event = build(load).next()

    assert isinstance(event, Broken)
    assert event.failure.reason == "rerank.py: ImportError: No module named 'foo'"
    assert event.failure.exit_code == EXIT_WOULD_FAIL_AGAIN


def test_a_thread_that_dies_is_posted(build: Build) -> None:
    bench = build()
    bench.next()

    bench.runner.submit(job(1, "a", query="stop"))
    event = bench.next()

    assert isinstance(event, Broken)
    assert event.failure.reason == "worker: KeyboardInterrupt"
    assert event.failure.exit_code == EXIT_CRASHED


def test_a_job_is_scored_without_waiting_for_company(build: Build) -> None:
    bench = build()
    bench.next()
    before = bench.runner.batch_started_at

    bench.runner.submit(job(1, "a"))
    began = bench.began()
    started_at = bench.runner.batch_started_at
    bench.model.gate.put(None)

    assert began == ["a"]
    assert before is None
    assert started_at is not None
    assert isinstance(bench.next(), BatchDone)
    scored = bench.next()
    assert isinstance(scored, Scored)
    assert (scored.job.number, scored.raw, scored.unit) == (1, [0.5], [0.5])


def test_tokenizing_goes_on_while_a_batch_is_scored(build: Build) -> None:
    bench = build()
    bench.runner.submit(job(1, "a"))
    bench.began()
    bench.encoded()

    bench.runner.submit(job(2, "b", query="meanwhile"))

    assert bench.encoded() == "meanwhile"


def test_a_job_that_is_dropped_while_it_waits_is_never_scored(build: Build) -> None:
    bench = build()
    first, second, third = job(1, "a"), job(2, "b"), job(3, "c", query="third")
    bench.runner.submit(first)
    bench.began()
    bench.runner.submit(second)
    bench.runner.submit(third)
    while bench.encoded() != "third":
        pass

    second.is_gone = True
    bench.runner.drop(second)
    bench.model.gate.put(None)

    assert bench.began() == ["c"]


def test_a_job_that_left_before_its_turn_is_not_tokenized(build: Build) -> None:
    bench = build()
    gone = job(1, "a", query="gone")
    gone.is_gone = True

    bench.runner.submit(gone)
    bench.runner.submit(job(2, "b", query="here"))

    assert bench.encoded() == "here"


@pytest.mark.parametrize(
    ("query", "message"),
    [("raise", "ValueError: no tokens"), ("memory", "encode: no room")],
)
def test_a_job_that_cannot_be_encoded_fails_alone(build: Build, query: str, message: str) -> None:
    bench = build()
    bench.next()

    bench.runner.submit(job(1, "a", query=query))
    failed = bench.next()
    bench.runner.submit(job(2, "b"))

    assert isinstance(failed, JobFailed)
    assert failed.message == message
    assert bench.began() == ["b"]


def test_texts_are_cleaned_where_the_config_says_so(build: Build) -> None:
    bench = build(clean=True)

    bench.runner.submit(job(1, " a\x00  b ", query=" q  q "))

    assert bench.encoded() == "q q"
    assert bench.began() == ["a b"]


def test_long_documents_are_cut_into_windows_where_the_config_says_so(build: Build) -> None:
    bench = build(chunk=True)
    bench.next()

    bench.runner.submit(job(1, "It flew quite far. It was fast.", "short"))
    first, second = bench.began(), None
    bench.model.gate.put(None)
    second = bench.began()
    bench.model.gate.put(None)
    *_, scored = (bench.next(), bench.next(), bench.next())

    assert sorted(first + second) == ["It flew quite far.", "It was fast.", "short"]
    assert isinstance(scored, Scored)
    assert scored.raw == [0.5, 0.5]
    assert scored.truncated == []
    assert scored.won is not None
    assert [won.count for won in scored.won] == [2, 1]


def test_long_documents_are_cut_off_by_default(build: Build) -> None:
    bench = build()
    bench.next()

    bench.runner.submit(job(1, "It flew quite far. It was fast."))
    bench.began()
    bench.model.gate.put(None)
    bench.next()
    scored = bench.next()

    assert isinstance(scored, Scored)
    assert scored.truncated == [0]
    assert scored.won is None
