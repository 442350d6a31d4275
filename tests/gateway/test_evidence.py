from __future__ import annotations

import asyncio
import json
import math
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_server.core.evidence import Compared, Tally, bucket_of, counts_from
from rerank_server.core.routing import FallbackReason, RoutesTable
from rerank_server.core.traffic import Arm, Mirror, Traffic
from rerank_server.gateway.dialect import Fallback
from rerank_server.gateway.evidence import Evidence
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.table import view_of
from tests.gateway.fakes import FixedRoutes, route, table

ARM = table(route("v1", "v1.1"), route("v2", "v2.1"))
SPLIT = replace(ARM, traffic=Traffic((Arm("v2", 5.0),)))
MS = 0.001
ANSWERED = Tally(1, 0, {bucket_of(20 * MS): 1})
FAILED = Tally(1, 1)


def exchange(
    arm: str | None = "v2",
    status: int = 200,
    version: str = "v2",
    fallback: FallbackReason | None = None,
    routes: RoutesTable = SPLIT,
    pairs: int = 2,
    *,
    is_evidence: bool = True,
    patience_s: float = math.inf,
) -> Exchange:
    found = Exchange("id", 0.0, {}, view_of(routes), pairs=pairs)
    found.arm, found.version, found.status, found.duration_s = arm, version, status, 20 * MS
    found.is_evidence, found.patience_s = is_evidence, patience_s
    if fallback is not None:
        found.fallback = Fallback("v2", fallback)
    return found


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    routes = FixedRoutes()
    routes.show(SPLIT)
    return Evidence(tmp_path, routes, clock=lambda: 12.5)


def away(reason: FallbackReason) -> RoutesTable:
    return table(route("v1", "v1.1"), route("v2", absent=reason))


@pytest.mark.parametrize(
    ("done", "counted"),
    [
        (exchange(), ANSWERED),
        (exchange(status=500), FAILED),
        (exchange(status=502), FAILED),
        (exchange(status=429), FAILED),
        (exchange(status=504), FAILED),
        (exchange(version="v1", fallback=FallbackReason.LOST), FAILED),
        (exchange(version="v1", fallback=FallbackReason.BACKOFF), FAILED),
        (exchange(pairs=0), None),  # nothing was scored
        (exchange(status=0), None),  # its client hung up
        (exchange(status=400), FAILED),  # what was not valid was refused before there was an arm
        (exchange(status=413), FAILED),
        (exchange(arm=None), None),  # its client named a version
        (exchange(status=502, is_evidence=False), None),
        (exchange(version="v1", fallback=FallbackReason.STARTING), None),
        (exchange(version="v1", fallback=FallbackReason.DRAINING), None),
        (exchange(status=503, routes=away(FallbackReason.STARTING)), None),
        (exchange(status=503, routes=away(FallbackReason.FAILED)), FAILED),
        (exchange(status=503, routes=table(route("v1", "v1.1"))), FAILED),
    ],
)
def test_an_arm_answers_for_what_it_made_of_its_requests(
    evidence: Evidence, done: Exchange, counted: Tally | None
) -> None:
    evidence.count(done)

    assert evidence.counts().arms == ({} if counted is None else {"v2": counted})


def late(arm: str, patience_s: float) -> Exchange:
    """Return one that its client gave up, or the server."""
    done = exchange(arm=arm, status=504, version=arm, patience_s=patience_s)
    done.duration_s = min(patience_s, 60.0)
    return done


@pytest.mark.parametrize(
    ("patience_s", "counted"),
    [
        (15 * MS, None),  # the others take 20 ms
        (25 * MS, FAILED),
        (5.0, FAILED),
        (math.inf, FAILED),
    ],
)
def test_a_client_that_would_not_wait_for_the_others_either_proves_nothing(
    evidence: Evidence, patience_s: float, counted: Tally | None
) -> None:
    for _ in range(20):
        evidence.count(exchange(arm="v1", version="v1"))

    evidence.count(late("v2", patience_s))

    assert evidence.counts().arms["v2"] == (counted or Tally())


def test_the_others_own_late_ones_tell_that_a_client_is_hasty(evidence: Evidence) -> None:
    for _ in range(90):
        evidence.count(exchange(arm="v1", version="v1"))
    for _ in range(10):
        evidence.count(late("v1", 50 * MS))

    evidence.count(late("v2", 50 * MS))

    assert evidence.counts().arms["v2"] == Tally()


def test_an_ordinary_timeout_is_the_arm_s_failure_however_slow_the_others_are(
    evidence: Evidence,
) -> None:
    for _ in range(20):
        evidence.count(late("v1", 10.0))

    evidence.count(late("v2", 10.0))

    assert evidence.counts().arms["v2"] == FAILED


def test_a_deadline_is_the_arm_s_failure_while_nothing_is_known_of_others(
    evidence: Evidence,
) -> None:
    evidence.count(late("v2", 1 * MS))

    assert evidence.counts().arms["v2"] == FAILED


def test_the_default_is_an_arm_like_others(evidence: Evidence) -> None:
    for _ in range(3):
        evidence.count(exchange(arm="v1", version="v1"))
    evidence.count(exchange())

    found = evidence.counts().figures("v2")

    assert (found.arm.requests, found.others.requests) == (1, 3)


def test_an_exchange_without_a_table_is_counted_too(evidence: Evidence) -> None:
    done = exchange()
    done.view = None

    evidence.count(done)

    assert evidence.counts().arms == {"v2": ANSWERED}


def test_copies_are_counted_by_pair_of_versions(evidence: Evidence) -> None:
    evidence.compared("v1", "v2", 0.5)
    evidence.compared("v1", "v2", 1.0)
    evidence.failed("v1", "v2")

    assert evidence.counts().mirrored == {("v1", "v2"): Compared(2, 1.5, 1)}


def told(directory: Path) -> object:
    file = directory / f"evidence-{os.getpid()}.json"
    return counts_from(json.loads(file.read_text())) if file.exists() else None


@pytest.mark.parametrize("routes", [SPLIT, replace(ARM, mirror=Mirror("v2", 0.1))])
def test_it_tells_while_the_traffic_is_split_or_mirrored(
    tmp_path: Path, routes: RoutesTable
) -> None:
    shown = FixedRoutes()
    evidence = Evidence(tmp_path, shown, clock=lambda: 12.5)
    for silent in (None, ARM):
        if silent is not None:
            shown.show(silent)
        evidence.tell()
        assert told(tmp_path) is None

    shown.show(routes)
    evidence.count(exchange())
    evidence.tell()

    assert told(tmp_path) == (evidence.counts(), 12.5)
    assert [path.name for path in tmp_path.iterdir()] == [f"evidence-{os.getpid()}.json"]


def test_a_directory_that_is_gone_costs_no_request(
    evidence: Evidence, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.rmdir()

    evidence.tell()

    assert caplog.messages == ["evidence cannot be written"]


def test_it_tells_at_once_and_at_its_end(evidence: Evidence, tmp_path: Path) -> None:
    async def live() -> None:
        task = asyncio.create_task(evidence.run())
        await asyncio.sleep(0)
        assert told(tmp_path) == (evidence.counts(), 12.5)
        evidence.count(exchange())
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(live())

    assert told(tmp_path) == (evidence.counts(), 12.5)
