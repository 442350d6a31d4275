"""The counters' files: one set per slot, over restarts, several processes and broken files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.gateway.dialect import Fallback
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.metrics import Metrics
from rerank_server.gateway.slots import Slots


def finished(version: str | None, status: int = 200, fallback: Fallback | None = None) -> Exchange:
    return Exchange(
        request_id="id", started=0.0, headers={}, view=None, version=version, status=status,
        duration_s=0.02, fallback=fallback,
    )  # fmt: skip


def total(metrics: Metrics, sample: str) -> float:
    """Return a sample's sum over all its labels, of all processes."""
    return sum(s.value for metric in metrics.collect() for s in metric.samples if s.name == sample)


def test_a_process_that_comes_back_goes_on_counting_where_the_one_before_stopped(
    tmp_path: Path,
) -> None:
    sizes = set()
    for round_number in range(1, 21):
        metrics = Metrics(tmp_path)
        metrics.began()
        metrics.count(finished("v1", fallback=Fallback("v2", FallbackReason.LOST)))
        assert total(metrics, "reranker_requests_total") == round_number
        assert total(metrics, "reranker_fallback_count_total") == round_number
        assert total(metrics, "reranker_request_duration_seconds_count") == round_number
        assert total(metrics, "reranker_gateway_in_flight_requests") == 1.0
        metrics.close()
        sizes.add(tuple(sorted((p.name, p.stat().st_size) for p in tmp_path.iterdir())))

    assert len(sizes) == 1


def test_what_is_no_score_request_is_not_counted(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)

    metrics.count(finished(None))

    assert total(metrics, "reranker_requests_total") == 0.0
    metrics.close()


def test_a_client_that_hung_up_is_counted_as_499(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)

    metrics.count(finished("v1", status=0))

    samples = [s for m in metrics.collect() for s in m.samples if s.name.endswith("requests_total")]
    assert [sample.labels["status"] for sample in samples] == ["499"]
    metrics.close()


COUNTING_PROCESS = """
import sys
from pathlib import Path
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]))
for _ in range(5):
    metrics.began()
    metrics.count(Exchange("id", 0.0, {}, None, version="v1", status=200, duration_s=0.1))
print("counted", flush=True)
sys.stdin.read()
"""


@contextmanager
def counting_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that counted five requests, all still in flight."""
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTING_PROCESS, str(directory)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "counted\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.process
def test_four_processes_are_summed_and_what_was_in_flight_dies_with_a_killed_one(
    tmp_path: Path,
) -> None:
    metrics = Metrics(tmp_path)
    with (
        counting_process(tmp_path) as first,
        counting_process(tmp_path),
        counting_process(tmp_path),
        counting_process(tmp_path),
    ):
        assert total(metrics, "reranker_requests_total") == 20.0
        assert total(metrics, "reranker_gateway_in_flight_requests") == 20.0
        files = sorted(path.name for path in tmp_path.iterdir())

        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert total(metrics, "reranker_requests_total") == 20.0
        assert total(metrics, "reranker_gateway_in_flight_requests") == 15.0

        with counting_process(tmp_path):
            assert total(metrics, "reranker_requests_total") == 25.0
            assert total(metrics, "reranker_gateway_in_flight_requests") == 20.0
            assert sorted(path.name for path in tmp_path.iterdir()) == files
    metrics.close()


@contextmanager
def no_room() -> Iterator[None]:
    """Let no file of this process grow, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_a_full_disk_has_no_room_for_is_counted_and_kept_once_it_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics(tmp_path)
    with no_room():
        metrics.count(finished("v1"))
        metrics.count(finished("v1"))
        assert total(metrics, "reranker_requests_total") == 0.0

    metrics.count(finished("v1"))

    assert total(metrics, "reranker_requests_total") == 3.0
    assert total(metrics, "reranker_request_duration_seconds_count") == 3.0
    assert caplog.messages == ["new metrics cannot be kept for now"] * 2  # two kinds of files
    metrics.close()


def test_a_file_that_cannot_grow_keeps_what_it_has(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.count(finished("v0"))
    with no_room():
        for number in range(1000):
            metrics.count(finished(f"v{number}"))
        kept = total(metrics, "reranker_requests_total")
        assert 100 < kept < 1001

    for number in range(1000):
        metrics.count(finished(f"v{number}"))

    assert total(metrics, "reranker_requests_total") == 2001.0
    metrics.close()


def test_the_blocks_of_a_file_are_there_before_they_are_written(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)

    for path in tmp_path.glob("*.db"):
        found = path.stat()
        assert found.st_blocks * 512 >= found.st_size > 0
    metrics.close()


def test_slots_are_the_lowest_free_numbers(tmp_path: Path) -> None:
    slots = [Slots(tmp_path) for _ in range(4)]
    assert [each.claim() for each in slots] == [0, 1, 2, 3]

    slots[1].release()
    slots[1].release()
    assert slots[0].abandoned() == [1]
    another = Slots(tmp_path)
    assert another.claim() == 1

    for each in (*slots, another):
        each.release()
    assert Slots(tmp_path).abandoned() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "content", [b"x", b"\x40\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\x7f" + b"\0" * 60]
)
def test_a_broken_file_is_started_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "counter_0.db").write_bytes(content)

    metrics = Metrics(tmp_path)
    metrics.count(finished("v1"))

    assert total(metrics, "reranker_requests_total") == 1.0
    assert [record.message for record in caplog.records] == [
        "metrics file is broken; starting anew"
    ]
    metrics.close()


def test_a_broken_file_of_another_process_hides_nothing_else(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.count(finished("v1"))
    (tmp_path / "counter_7.db").write_bytes(b"\x40\0\0\0\0\0\0\0\xff\xff\xff\x7f" + b"\0" * 60)

    assert total(metrics, "reranker_requests_total") == 1.0
    metrics.close()
