"""What gateways are told: where each version is reached, or why it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.absence import absent
from rerank_server.core.publish import routes, socket_path
from rerank_server.core.routing import FallbackReason, RoutesTable
from rerank_server.core.types import Fleet, Instance, State
from rerank_server.core.wanted import Wanted, WantedVersion
from tests.core.build import HUNG, LIMITS, failure, fleet, target, version, wanted, worker

V1, V2, OFF = version(), version("v2"), version(enabled=False)
LATE = replace(HUNG, doom="not ready within 30 s", ready_at=None)


def table(wanted: Wanted, fleet: Fleet) -> RoutesTable:
    return routes(wanted, fleet, LIMITS, 7, "/run/w")


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
