from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rerank_server.core.absence import absent
from rerank_server.core.limits import Limits
from rerank_server.core.publish import Usage, routes, socket_path, version_state
from rerank_server.core.routing import FallbackReason, RoutesTable, Target
from rerank_server.core.snapshot import read
from rerank_server.core.stats import Counters, VersionStats, quantile
from rerank_server.core.types import Fleet, Instance, Slot, State
from rerank_server.core.wanted import Wanted, WantedVersion
from tests.core import state_json
from tests.core.build import failure, fleet, version, wanted, worker

LIMITS = Limits(
    request_timeout_s=60.0,
    max_body_bytes=1 << 20,
    max_docs=1000,
    body_timeout_s=30.0,
    keep_alive_s=30.0,
)
V1, V2, OFF = version(), version("v2"), version(enabled=False)
HUNG = replace(worker(state=State.STOPPING), is_killed=True, doom="hung", ready_at=1.0)
LATE = replace(HUNG, doom="not ready within 30 s", ready_at=None)


def table(wanted: Wanted, fleet: Fleet) -> RoutesTable:
    return routes(wanted, fleet, LIMITS, 7, "/run/w")


def target(instance: str) -> Target:
    return Target(instance, f"/run/w/{instance}.sock")


# --- routes -------------------------------------------------------------------------------------


def test_routes_are_published_for_each_configured_version_in_config_order() -> None:
    asked = wanted(V1, version("v2", enabled=False), version("v3", fallback="v2"), last_resort="v2")

    found = table(asked, fleet(worker(), worker("v3")))

    assert list(found.versions) == ["v1", "v2", "v3"]
    assert (found.generation, found.gateway_generation, found.limits) == (3, 7, LIMITS)
    assert (found.default, found.last_resort, found.is_stopping) == ("v1", "v2", False)
    v3 = found.versions["v3"]
    assert (v3.endpoint, v3.description, v3.enabled) == ("/rerank/v3", "about v3", True)
    assert (v3.targets, v3.absent, v3.fallback) == ((target("v3.1"),), None, ("v2", "v1"))
    v2 = found.versions["v2"]
    assert (v2.targets, v2.absent, v2.enabled) == ((), FallbackReason.DISABLED, False)
    assert found.versions["v1"].description == "about v1"


@pytest.mark.parametrize(
    ("state", "is_routed"),
    [
        (State.STARTING, False),
        (State.RUNNING, True),
        (State.DRAINING, False),
        (State.STOPPING, False),
    ],
)
def test_only_a_running_process_is_routed_to(state: State, is_routed: bool) -> None:
    found = table(wanted(V1), fleet(worker(state=state)))

    assert found.versions["v1"].targets == ((target("v1.1"),) if is_routed else ())


@pytest.mark.parametrize(
    ("instances", "expected"),
    [
        ([worker(files="old"), worker(state=State.STARTING, number=2)], ["v1.1"]),
        ([worker(files="old"), worker(number=2)], ["v1.2"]),
        ([worker(files="old", state=State.DRAINING), worker(number=2)], ["v1.2"]),
        ([worker(), worker(number=2)], ["v1.1", "v1.2"]),
    ],
    ids=["new one starts", "new one runs", "old one drains", "replicas"],
)
def test_the_new_process_is_routed_to_as_soon_as_it_runs(
    instances: list[Instance], expected: list[str]
) -> None:
    found = table(wanted(V1), fleet(*instances))

    assert [t.instance for t in found.versions["v1"].targets] == expected


def test_the_default_is_where_the_pointer_is_not_where_it_should_be() -> None:
    moving = fleet(worker(), worker("v2", State.STARTING), default="v1")

    found = table(wanted(V1, V2, version("v3"), default="v2"), moving)

    assert found.default == "v1"
    assert found.versions["v3"].fallback == ("v1",)


def test_before_anything_ran_the_default_is_the_wanted_one() -> None:
    assert table(wanted(V1), fleet(default=None)).default == "v1"


def test_a_default_taken_out_of_the_config_is_routed_to_until_another_runs() -> None:
    moving = fleet(worker("v9"), default="v9")

    found = table(wanted(V1, last_resort="v1"), moving)

    assert found.default == "v9"
    kept = found.versions["v9"]
    assert (kept.targets, kept.enabled, kept.absent) == ((target("v9.1"),), True, None)
    assert kept.fallback == ("v1",)


@pytest.mark.parametrize(
    ("asked", "now_fleet", "expected"),
    [
        (V1, fleet(worker()), None),
        (OFF, fleet(worker()), None),
        (V1, fleet(), FallbackReason.STARTING),
        (V1, fleet(worker(state=State.STARTING)), FallbackReason.STARTING),
        (V1, fleet(worker(state=State.DRAINING)), FallbackReason.DRAINING),
        (V1, fleet(worker(state=State.STOPPING)), FallbackReason.STARTING),
        (OFF, fleet(worker(state=State.DRAINING)), FallbackReason.DRAINING),
        (OFF, fleet(worker(state=State.STOPPING)), FallbackReason.DISABLED),
        (OFF, fleet(), FallbackReason.DISABLED),
        (OFF, fleet(failures=(failure(),)), FallbackReason.DISABLED),
        (version(problem="no model files"), fleet(), FallbackReason.FAILED),
        (V1, fleet(failures=(failure(),)), FallbackReason.FAILED),
        (V1, fleet(failures=(failure(retry_at=9.0),)), FallbackReason.BACKOFF),
        (V1, fleet(failures=(failure(files="old"),)), FallbackReason.STARTING),
        (V1, fleet(HUNG), FallbackReason.HUNG),
        (V1, fleet(LATE), FallbackReason.STARTING),
        (V1, fleet(HUNG, worker(number=2)), None),
    ],
    ids=[
        "runs",
        "disabled but kept",
        "waits for its turn",
        "starts",
        "drains",
        "stopped first",
        "disabled, drains",
        "disabled, stops",
        "disabled",
        "disabled after a failure",
        "cannot be started",
        "failed",
        "backoff",
        "repaired",
        "hung",
        "did not start in time",
        "hung, replaced",
    ],
)
def test_an_absent_version_has_its_reason(
    asked: WantedVersion, now_fleet: Fleet, expected: FallbackReason | None
) -> None:
    assert absent(asked, now_fleet.slot("v1")) is expected


def test_a_socket_is_named_after_its_instance() -> None:
    assert socket_path("/run/w", "v1.3") == "/run/w/v1.3.sock"


# --- state.json ---------------------------------------------------------------------------------


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
