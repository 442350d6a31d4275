from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from rerank_workers.device import Device, Work
from rerank_workers.failures import VersionFileError
from rerank_workers.jobs import BatchDone, Broken, Event, Job, JobFailed, Scored
from rerank_workers.probe import WARM_UP
from rerank_workers.scorer import DeviceMemoryError, Item
from rerank_workers.scoring import Model, ModelError, warm_up
from rerank_workers.wire import CAUSE_GPU_ERROR, EXIT_CRASHED, EXIT_NO_DEVICE_MEMORY


@dataclass(frozen=True)
class Text:
    text: str

    @property
    def tokens(self) -> int:
        return len(self.text)

    @property
    def truncated(self) -> bool:
        return self.text.startswith("long")


@dataclass
class Fake:
    """Scores a document as its text says; remembers each batch."""

    mixes_requests: bool = True
    batches_at_once: int = 1
    room: int = 100
    batches: list[list[str]] = field(default_factory=list)

    @property
    def info(self) -> Mapping[str, str]:
        return {}

    def encode(self, query: str, docs: Sequence[str]) -> Sequence[Item]:
        if query == "raise":
            raise ValueError(query)
        return [Text(doc) for doc in docs if doc != "lost"]

    def score(self, items: Sequence[Item]) -> Sequence[float]:
        texts = [item.text for item in items if isinstance(item, Text)]
        self.batches.append(texts)
        if len(texts) > self.room or "huge" in texts:
            raise DeviceMemoryError("no room")
        if "raise" in texts:
            raise RuntimeError(f"cannot score {texts}")
        if "break" in texts:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if "none" in texts:
            return None  # type: ignore[return-value]  # what a careless author returns
        scores = [math.inf if text == "inf" else len(text) / 10 for text in texts]
        return scores[1:] if "short" in texts else scores

    def to_unit(self, raw: Sequence[float]) -> Sequence[float]:
        return raw


class Activations:
    """What a forward pass has on the device."""


class Clock:
    """A clock that moves a second each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def job(number: int, *docs: str, deadline: float | None = None) -> Job:
    return Job(number, "q", docs, 0.0, deadline)


def device_of(fake: Fake, *jobs: Job, batch_size: int = 8, whole_requests: bool = False) -> Device:
    model = Model(fake, whole_requests)
    device = Device(model, batch_size, 1000, Clock())
    for each in jobs:
        device.add(Work(each, model.encode(each.query, each.docs)))
    return device


def run(device: Device) -> list[Event]:
    events: list[Event] = []
    while not device.is_idle:
        events += device.score_next()
    return events


def test_scores_come_back_in_the_order_of_the_documents() -> None:
    device = device_of(Fake(), job(1, "a", "ccc", "bb"), job(2, "long"), batch_size=2)

    scored = {e.job.number: e for e in run(device) if isinstance(e, Scored)}

    assert scored[1].raw == [0.1, 0.3, 0.2]
    assert scored[1].tokens == [1, 3, 2]
    assert scored[1].truncated == []
    assert scored[2].truncated == [0]


def test_a_scorer_that_cuts_batches_itself_is_given_several_within_the_tokens() -> None:
    fake = Fake()
    fake.batches_at_once = 3
    device = device_of(fake, job(1, *["a"] * 7), job(2, *["b" * 400] * 3), batch_size=2)

    run(device)

    assert sorted(map(len, fake.batches)) == [1, 1, 2, 6]


def test_a_batch_is_counted_with_its_tokens_and_its_time() -> None:
    device = device_of(Fake(), job(1, "aa", "bb"), job(2, "cc"))

    done = [e for e in run(device) if isinstance(e, BatchDone)]

    assert done == [BatchDone(3, 6, 1.0)]


@pytest.mark.parametrize(
    ("doc", "message", "site"),
    [
        ("raise", "RuntimeError: cannot score", "RuntimeError at test_worker_device.py:"),
        ("inf", "score gave inf for document 0", "score: not finite"),
        ("short", "score gave 0 scores for 1 documents", "score: wrong length"),
        ("none", "score must return one number per document, not NoneType", "score"),
        ("eleven chars", "score 1.2 of document 0 lies outside 0..1", "outside 0..1"),
    ],
)
def test_only_the_request_at_fault_fails(doc: str, message: str, site: str) -> None:
    fake = Fake()
    device = device_of(fake, job(1, "ok"), job(2, doc), job(3, "fine"))

    events = run(device)

    assert {e.job.number for e in events if isinstance(e, Scored)} == {1, 3}
    (failed,) = [e for e in events if isinstance(e, JobFailed)]
    assert failed.job.number == 2
    assert failed.message.startswith(message)
    assert failed.site.startswith(site)


def test_what_is_logged_of_a_failure_never_quotes_a_text() -> None:
    events = run(device_of(Fake(), job(1, "raise", "secret")))

    (failed,) = [e for e in events if isinstance(e, JobFailed)]

    assert "secret" in failed.message
    assert "secret" not in failed.site


def test_a_failed_request_has_no_more_of_its_pairs_scored() -> None:
    fake = Fake()
    device = device_of(fake, job(1, "raise", "a", "b"), batch_size=1)

    events = run(device)

    assert len(events) == 1
    assert fake.batches == [["raise"]]


def test_a_batch_too_large_for_the_device_is_halved_until_it_fits() -> None:
    fake = Fake(room=2)
    device = device_of(fake, job(1, *"abcde"))

    events = run(device)

    assert [e.raw for e in events if isinstance(e, Scored)] == [[0.1] * 5]
    assert [len(batch) for batch in fake.batches] == [5, 2, 3, 1, 2]


def test_what_a_failed_batch_held_is_free_before_its_halves_are_tried() -> None:
    held: list[weakref.ref[Activations]] = []

    class Holder(Fake):
        def score(self, items: Sequence[Item]) -> Sequence[float]:
            assert not [one for one in held if one() is not None]
            activations = Activations()
            held.append(weakref.ref(activations))
            return super().score(items)

    scores = Model(Holder(room=1)).score([Text(text) for text in "abcd"])

    assert len(scores) == 4
    assert len(held) == 7


def test_one_pair_that_does_not_fit_ends_the_worker() -> None:
    device = device_of(Fake(), job(1, "huge", "a"))

    (broken,) = device.score_next()

    assert isinstance(broken, Broken)
    assert broken.failure.exit_code == EXIT_NO_DEVICE_MEMORY
    assert not broken.failure.would_fail_again
    assert device.batch_started_at is None


def test_a_cuda_error_ends_the_worker_and_blames_the_card() -> None:
    device = device_of(Fake(), job(1, "break", "a"), job(2, "b"))

    (broken,) = device.score_next()

    assert isinstance(broken, Broken)
    assert (broken.failure.exit_code, broken.failure.cause) == (EXIT_CRASHED, CAUSE_GPU_ERROR)
    assert broken.failure.reason.startswith("RuntimeError: CUDA error")


def test_a_bare_request_that_does_not_fit_is_not_split() -> None:
    model = Model(Fake(room=1), whole_requests=True)

    with pytest.raises(DeviceMemoryError):
        model.score(model.encode("q", ["a", "b"]))


def test_a_job_whose_waiter_left_is_never_scored() -> None:
    fake = Fake()
    early, late, stays = job(1, "early"), job(2, "late"), job(3, "stays")
    late.is_gone = True
    device = device_of(fake, early, late, stays)
    device.drop(early)
    device.drop(late)

    run(device)

    assert fake.batches == [["stays"]]


def test_a_job_past_its_deadline_is_never_scored() -> None:
    fake = Fake()
    device = device_of(fake, job(1, "late", deadline=0.5))

    assert device.score_next() == []
    assert fake.batches == []


def test_a_job_dropped_between_its_batches_is_not_reported() -> None:
    fake = Fake()
    only = job(1, "a", "b")
    device = device_of(fake, only, batch_size=1)
    device.score_next()

    device.drop(only)

    assert run(device) == []
    assert len(fake.batches) == 1


def test_encoding_errors_are_model_errors() -> None:
    model = Model(Fake())

    with pytest.raises(ModelError, match="ValueError: raise"):
        model.encode("raise", ["a"])
    with pytest.raises(ModelError, match="1 items for 2 documents"):
        model.encode("q", ["a", "lost"])


def test_a_cosine_just_past_1_is_brought_back() -> None:
    model = Model(Fake())

    assert model.unit([1.0 + 1e-7, -1e-7]) == [1.0, 0.0]


def test_a_model_that_fails_its_warm_up_is_not_served() -> None:
    model = Model(Fake())

    with pytest.raises(VersionFileError, match=r"warm-up: score .* lies outside"):
        warm_up(model, WARM_UP)
