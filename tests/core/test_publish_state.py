"""What state.json shows of a version."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rerank_server.core.publish import Usage, version_state
from rerank_server.core.snapshot import read
from rerank_server.core.stats import Counters, VersionStats, quantile
from rerank_server.core.types import Fleet, Slot, State
from rerank_server.core.wanted import WantedVersion
from tests.core import state_json
from tests.core.build import HUNG, failure, fleet, version, worker

V1, OFF = version(), version(enabled=False)


def state_of(version: WantedVersion, slot: Slot, now: float = 100.0) -> dict[str, object]:
    return version_state(version, slot, VersionStats(), {}, now, is_default=False)


@pytest.mark.parametrize(
    ("asked", "now_fleet", "state", "reason"),
    [
        (V1, fleet(), "STARTING", None),
        (V1, fleet(worker(state=State.STARTING)), "STARTING", None),
        (V1, fleet(worker()), "RUNNING", None),
        (V1, fleet(worker(state=State.DRAINING)), "DRAINING", None),
        (V1, fleet(worker(state=State.STOPPING)), "STOPPING", None),
        (V1, fleet(HUNG), "STOPPING", "hung"),
        (V1, fleet(HUNG, failures=(failure(retry_at=9.0),)), "BACKOFF", "bad weights"),
        (V1, fleet(failures=(failure(retry_at=9.0),)), "BACKOFF", "bad weights"),
        (V1, fleet(failures=(failure(),)), "FAILED", "bad weights"),
        (V1, fleet(failures=(failure(files="old"),)), "STARTING", None),
        (
            V1,
            fleet(worker(state=State.STARTING), failures=(failure(retry_at=9.0),)),
            "STARTING",
            "bad weights",
        ),
        (V1, fleet(worker(files="old"), failures=(failure(),)), "RUNNING", "bad weights"),
        (version(problem="no model files"), fleet(), "FAILED", "no model files"),
        (version(problem="no model files"), fleet(worker()), "RUNNING", "no model files"),
        (OFF, fleet(), "DISABLED", None),
        (OFF, fleet(worker()), "RUNNING", None),
        (OFF, fleet(worker(state=State.DRAINING)), "DRAINING", None),
        (OFF, fleet(failures=(failure(),)), "DISABLED", None),
    ],
)
def test_the_state_is_the_one_people_mean(
    asked: WantedVersion, now_fleet: Fleet, state: str, reason: str | None
) -> None:
    found = state_of(asked, now_fleet.slot("v1"))

    assert (found["state"], found["reason"]) == (state, reason)


@pytest.mark.parametrize(
    ("now_fleet", "attempt", "retry_in_s"),
    [
        (fleet(), 0, None),
        (fleet(failures=(failure(retry_at=107.5, attempt=4),)), 4, 7.5),
        (fleet(failures=(failure(retry_at=99.0, attempt=4),)), 4, 0.0),
        (fleet(failures=(failure(attempt=5),)), 5, None),
        (fleet(worker(), failures=(failure(retry_at=99.0),)), 1, None),
        (fleet(failures=(failure(files="old", retry_at=107.5, attempt=4),)), 0, None),
    ],
    ids=["never failed", "waits", "due", "failed", "runs again", "spec changed"],
)
def test_only_a_waiting_version_has_a_time_to_its_next_try(
    now_fleet: Fleet, attempt: int, retry_in_s: float | None
) -> None:
    found = state_of(V1, now_fleet.slot("v1"))

    assert (found["attempt"], found["retry_in_s"]) == (attempt, retry_in_s)


def test_the_process_that_serves_is_shown_and_its_successor_marked() -> None:
    old = replace(worker(files="old"), info={"engine": "torch"})
    new = worker(state=State.STARTING, number=2, at=90.0)

    found = state_of(V1, fleet(old, new).slot("v1"))

    instances = found["instances"]
    assert isinstance(instances, list)
    assert [(i["id"], i["replacing"]) for i in instances] == [("v1.1", False), ("v1.2", True)]
    assert found["info"] == {"engine": "torch"}


def test_a_first_process_that_starts_replaces_nothing() -> None:
    found = state_of(V1, fleet(worker(state=State.STARTING)).slot("v1"))

    instances = found["instances"]
    assert isinstance(instances, list)
    assert [i["replacing"] for i in instances] == [False]


def test_before_the_first_beat_every_figure_is_nought() -> None:
    found = state_of(V1, fleet(worker()).slot("v1"))

    instances = found["instances"]
    assert isinstance(instances, list)
    assert (instances[0]["memory_bytes"], instances[0]["gpu_memory_bytes"]) == (0, 0)
    assert found["queue"] == {"in_flight": 0, "queued_pairs": 0}


def test_of_two_that_run_the_one_of_the_wanted_spec_is_shown() -> None:
    new = replace(worker(number=2, at=90.0), info={"engine": "onnx"})

    found = state_of(V1, fleet(worker(files="old"), new).slot("v1"))

    assert found["info"] == {"engine": "onnx"}


@pytest.mark.parametrize(
    ("now_fleet", "digest"),
    [
        (fleet(worker(files="old")), "0123"),
        (fleet(worker(files="old"), worker(number=2, state=State.STARTING)), "0123"),
        (fleet(worker()), None),
        (fleet(), None),
    ],
    ids=["known", "of what serves", "not read yet", "nothing runs"],
)
def test_the_digest_is_that_of_the_files_that_serve(now_fleet: Fleet, digest: str | None) -> None:
    stats, digests = VersionStats(), {("/models/v1", "old"): "0123"}

    found = version_state(
        V1, now_fleet.slot("v1"), stats, {}, 1.0, is_default=True, digests=digests
    )

    assert found["digest"] == digest


def test_a_version_without_a_process_shows_what_it_would_run_with() -> None:
    waiting, disabled = state_of(V1, Slot("v1")), state_of(OFF, Slot("v1"))

    assert (waiting["device"], waiting["model"]) == ("cpu", "model")
    assert waiting["settings"] == {
        "batch_size": 16,
        "max_length": 512,
        "use_fp16": True,
        "max_batch_tokens": 8192,
    }
    assert (disabled["device"], disabled["model"], disabled["settings"]) == (None, None, {})


def test_the_figures_of_a_version_are_those_of_all_its_processes() -> None:
    draining = replace(worker(state=State.DRAINING, files="old"), in_flight=2)
    serving = replace(worker(number=2, at=40.0), in_flight=3)
    usage = {
        "v1.1": Usage(queued_pairs=1, memory_bytes=10, gpu_memory_bytes=5),
        "v1.2": Usage(queued_pairs=4, memory_bytes=20, gpu_memory_bytes=7),
    }
    stats = VersionStats().take("v1.2", Counters(5, 50, 900, 1, 5, 2.5, {40: 5}), 99.0)
    slot = replace(fleet(draining, serving).slot("v1"), restarts=6)

    found = version_state(V1, slot, stats, usage, 100.0, is_default=True)

    assert found["totals"] == {"requests": 5, "pairs": 50, "tokens": 900, "errors": 1}
    assert found["queue"] == {"in_flight": 5, "queued_pairs": 5}
    middle = quantile({40: 1}, 0.5)
    assert found["duration"] == {
        "count": 5,
        "sum_s": 2.5,
        **dict.fromkeys(("p50", "p90", "p95", "p99"), middle),
    }
    assert (found["default"], found["restarts"], found["degraded"]) == (True, 6, None)
    instances = found["instances"]
    assert isinstance(instances, list)
    assert instances[1] == {
        "id": "v1.2",
        "replica": 0,
        "pid": 1002,
        "state": "RUNNING",
        "device": "cpu",
        "age_s": 60.0,
        "uptime_s": 60.0,
        "in_flight": 3,
        "memory_bytes": 20,
        "gpu_memory_bytes": 7,
        "replacing": False,
    }


def test_what_is_published_is_what_status_reads() -> None:
    entry = state_of(V1, fleet(worker(), failures=(failure(retry_at=99.0),)).slot("v1"))
    whole = {**state_json.seed(), "versions": [entry]}

    snapshot = read(json.loads(json.dumps(whole)))

    assert (snapshot.versions[0].name, snapshot.versions[0].state) == ("v1", "RUNNING")
