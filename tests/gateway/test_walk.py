"""The walk over the candidates: who is asked, in which order, and when it ends."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from rerank_server.core.routing import Choice, FallbackReason, RoutesTable, Target
from rerank_server.errors import DeadlineError, UnavailableError, WorkerLostError
from rerank_server.gateway.ledger import LossLedger
from rerank_server.gateway.upstream import Errand, Lost, Outcome, Refused
from rerank_server.gateway.walk import Arrival, Journey, Walker
from tests.gateway.fakes import FakeUpstream, failure, route, scores, table

GONE = Refused(FallbackReason.LOST)
THREE = table(
    route("v1", "v1.1", "v1.2", fallback=["v2", "v3"]),
    route("v2", "v2.1", fallback=["v1"]),
    route("v3", "v3.1", fallback=["v1"]),
)


def errand(docs: str = "[]", timeout_s: float = 5.0) -> Errand:
    payload = f'{{"query":"q","docs":{docs}}}'.encode()
    return Errand(payload, "id", time.monotonic() + timeout_s)


def journey(routes: RoutesTable = THREE, version: str = "v1", *, strict: bool = False) -> Journey:
    return Journey(routes, Choice(version, "path", version), strict)


class Trip:
    """A walker with its upstream and ledger."""

    def __init__(self, directory: Path, **behaviours: Outcome) -> None:
        self.workers = FakeUpstream({k.replace("_", "."): b for k, b in behaviours.items()})
        self.ledger = LossLedger(directory)
        self.walker = Walker(self.workers, self.ledger)

    def go(self, sent: Errand | None = None, routes: RoutesTable = THREE) -> Arrival:
        """Walk one errand to v1."""
        return asyncio.run(self.walker.walk(journey(routes), sent or errand()))


def test_refusals_walk_over_every_instance_once(tmp_path: Path) -> None:
    trip = Trip(tmp_path, v1_1=GONE, v1_2=GONE, v2_1=GONE)

    arrival = trip.go()

    assert trip.workers.visits == ["v1.1", "v1.2", "v2.1", "v3.1"]
    assert arrival.version == "v3"
    assert arrival.fallback is not None
    assert arrival.fallback.reason == "lost"


def test_the_reason_told_is_the_asked_versions_first(tmp_path: Path) -> None:
    trip = Trip(
        tmp_path,
        v1_1=Refused(FallbackReason.DRAINING),
        v1_2=GONE,
        v2_1=Refused(FallbackReason.HUNG),
    )

    arrival = trip.go()

    assert arrival.fallback is not None
    assert arrival.fallback.reason == "draining"


def test_when_all_refuse_it_is_unavailable(tmp_path: Path) -> None:
    trip = Trip(tmp_path, v1_1=GONE, v1_2=GONE, v2_1=GONE, v3_1=GONE)

    with pytest.raises(UnavailableError, match=r"v1 cannot answer now \(lost\), nor can any"):
        trip.go()


@pytest.mark.parametrize("status", [429, 500, 504])
def test_an_answer_ends_the_walk_whatever_it_is(tmp_path: Path, status: int) -> None:
    trip = Trip(tmp_path, v1_1=failure(status, "x"))

    assert trip.go().answer.status == status
    assert trip.workers.visits == ["v1.1"]


def test_a_loss_is_tried_once_more_alone_and_forgotten_when_that_succeeds(tmp_path: Path) -> None:
    trip = Trip(tmp_path, v1_1=Lost())

    arrival = trip.go()

    assert trip.workers.visits == ["v1.1", "v1.2!"]
    assert arrival.fallback is None
    assert trip.ledger.is_empty()


def test_the_retry_of_a_loss_walks_over_refusals(tmp_path: Path) -> None:
    trip = Trip(tmp_path, v1_1=Lost(), v1_2=GONE, v2_1=Refused(FallbackReason.DRAINING))

    arrival = trip.go()

    assert trip.workers.visits == ["v1.1", "v1.2!", "v2.1!", "v3.1!"]
    assert arrival.version == "v3"


def test_a_second_loss_ends_the_walk_and_refuses_the_text_afterwards(tmp_path: Path) -> None:
    trip = Trip(tmp_path, v1_1=Lost(), v1_2=Lost())

    with pytest.raises(WorkerLostError):
        trip.go()
    with pytest.raises(WorkerLostError, match="refused for ten minutes"):
        trip.go()
    other = trip.go(errand('["other"]'), table(route("v1", "v1.3")))

    assert trip.workers.visits == ["v1.1", "v1.2!", "v1.3"]
    assert other.version == "v1"


def test_a_loss_with_nobody_left_is_unavailable_and_the_next_try_goes_alone(
    tmp_path: Path,
) -> None:
    trip = Trip(tmp_path, v1_1=Lost(), v1_2=Lost())

    with pytest.raises(UnavailableError):
        trip.go(routes=table(route("v1", "v1.1")))
    with pytest.raises(WorkerLostError):
        trip.go(routes=table(route("v1", "v1.2", "v1.3")))

    assert trip.workers.visits == ["v1.1", "v1.2!"]


def test_a_suspect_that_succeeds_is_cleared(tmp_path: Path) -> None:
    trip = Trip(tmp_path, v1_1=Lost())

    with pytest.raises(UnavailableError):
        trip.go(routes=table(route("v1", "v1.1")))
    trip.go(routes=table(route("v1", "v1.2")))
    trip.go(routes=table(route("v1", "v1.3")))

    assert trip.workers.visits == ["v1.1", "v1.2!", "v1.3"]


def test_a_suspect_that_is_refused_for_other_reasons_stays_one(tmp_path: Path) -> None:
    trip = Trip(tmp_path, v1_1=Lost(), v1_2=failure(500, "model_error"))

    assert trip.go().answer.status == 500
    assert not trip.ledger.is_empty()


def test_one_death_with_the_same_text_in_flight_many_times_is_one_death(tmp_path: Path) -> None:
    trip = Trip(tmp_path, v1_1=Lost())

    async def at_once() -> list[Arrival]:
        walks = (trip.walker.walk(journey(), errand()) for _ in range(10))
        return await asyncio.gather(*walks)

    arrivals = asyncio.run(at_once())

    assert {arrival.answer.status for arrival in arrivals} == {200}
    assert trip.ledger.is_empty()


class Gate:
    """An upstream that loses all first tries at once, and counts the retries it works on."""

    def __init__(self, first_tries: int) -> None:
        self.visits: list[tuple[str, bytes]] = []
        self.most_at_once = 0
        self.is_held = asyncio.Event()
        self._at_once: Counter[str] = Counter()
        self._barrier = asyncio.Barrier(first_tries)

    async def score(self, target: Target, errand: Errand) -> Outcome:
        """Lose the first tries; of the retries, those that kill; hold those that hold."""
        if not errand.is_alone:
            await self._barrier.wait()
            return Lost()
        self.visits.append((target.instance, errand.payload))
        self._at_once[target.instance] += 1
        self.most_at_once = max(self.most_at_once, self._at_once[target.instance])
        for _ in range(10):  # others would come in between, if they could
            await asyncio.sleep(0)
        if b"hold" in errand.payload:
            self.is_held.set()
            await asyncio.get_running_loop().create_future()
        self._at_once[target.instance] -= 1
        return Lost() if b"kill" in errand.payload else scores([])


def test_retries_at_one_worker_go_one_at_a_time_so_a_killer_takes_no_others_along(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        gate = Gate(first_tries=5)
        walker = Walker(gate, LossLedger(tmp_path))
        docs = ['["fine"]', '["kill"]', '["good"]', '["kill"]', '["well"]']

        results = await asyncio.gather(
            *(walker.walk(journey(), errand(each)) for each in docs), return_exceptions=True
        )

        assert [type(result) for result in results] == [
            Arrival, WorkerLostError, Arrival, WorkerLostError, Arrival,
        ]  # fmt: skip
        assert gate.most_at_once == 1
        assert {instance for instance, _ in gate.visits} <= {"v1.1", "v1.2"}
        assert sum(b"kill" in payload for _, payload in gate.visits) <= 1

    asyncio.run(scenario())


def test_waiting_for_its_turn_ends_at_the_deadline(tmp_path: Path) -> None:
    async def scenario() -> None:
        gate = Gate(first_tries=1)
        walker = Walker(gate, LossLedger(tmp_path))
        first = asyncio.ensure_future(walker.walk(journey(), errand('["hold"]')))
        await gate.is_held.wait()

        with pytest.raises(DeadlineError):
            await walker.walk(journey(), errand('["b"]', timeout_s=0.02))
        first.cancel()

    asyncio.run(scenario())


def test_a_strict_request_is_lost_to_its_own_versions_instances_only(tmp_path: Path) -> None:
    trip = Trip(tmp_path, v1_1=Lost(), v1_2=GONE)

    with pytest.raises(UnavailableError, match="X-Rerank-Strict"):
        asyncio.run(trip.walker.walk(journey(strict=True), errand()))

    assert trip.workers.visits == ["v1.1", "v1.2!"]
