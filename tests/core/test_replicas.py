"""Several processes of one version: each its own spec, together one version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.lifecycle import apply
from rerank_server.core.limits import Limits
from rerank_server.core.plan import plan, verdict
from rerank_server.core.publish import routes
from rerank_server.core.reconcile import is_settled, reconcile
from rerank_server.core.types import Drain, Exited, Instance, Start, State
from rerank_server.core.wanted import WantedVersion
from tests.core.build import POLICY, carry_on, fleet, spec, states, version, wanted, worker

WIDE = replace(POLICY, start_slots=4)
LIMITS = Limits(60.0, 1 << 20, 1000, 30.0, 30.0)


def of(replicas: int, files: str = "a", name: str = "v1") -> WantedVersion:
    return replace(version(name, files), replicas=replicas)


def replica(
    number: int, *, replica: int, state: State = State.RUNNING, files: str = "a"
) -> Instance:
    one = worker(state=state, files=files, number=number)
    return replace(one, spec=replace(one.spec, replica=replica))


def targets(asked: WantedVersion, *instances: Instance) -> list[str]:
    table = routes(wanted(asked), fleet(*instances), LIMITS, 1, "/run/w")
    return [target.instance for target in table.versions["v1"].targets]


def test_each_replica_is_started_under_an_id_of_its_own() -> None:
    actions = reconcile(wanted(of(2)), fleet(), 0.0, WIDE)

    assert actions == [Start("v1.1", spec()), Start("v1.2", replace(spec(), replica=1))]


def test_a_version_has_settled_when_all_its_replicas_run() -> None:
    asked = wanted(of(2))

    assert not is_settled(asked, fleet(replica(1, replica=0)), "v1")
    assert is_settled(asked, fleet(replica(1, replica=0), replica(2, replica=1)), "v1")


def test_replicas_are_replaced_one_after_another() -> None:
    before = fleet(replica(1, replica=0), replica(2, replica=1))

    loading, actions = carry_on(wanted(of(2, files="b")), before, policy=WIDE)

    assert actions == [Start("v1.3", spec(files="b"))]
    assert list(states(loading)) == ["v1.1", "v1.2", "v1.3"]


def test_only_the_predecessor_of_the_same_replica_drains() -> None:
    asked = wanted(of(2, files="b"))
    half = fleet(replica(1, replica=0), replica(2, replica=1), replica(3, replica=0, files="b"))

    assert reconcile(asked, half, 0.0, WIDE) == [Drain("v1.1", "replaced")]


def test_a_replica_too_many_drains() -> None:
    before = fleet(replica(1, replica=0), replica(2, replica=1))

    assert reconcile(wanted(of(1)), before, 0.0, WIDE) == [Drain("v1.2", "no longer wanted")]


def test_a_replica_too_many_serves_until_another_does() -> None:
    before = fleet(replica(1, replica=0), replica(2, replica=1))

    loading, actions = carry_on(wanted(of(1, files="b")), before, policy=WIDE)

    assert actions == [Start("v1.3", spec(files="b"))]
    assert states(loading)["v1.2"] is State.RUNNING


def test_a_replica_more_starts_beside_the_others() -> None:
    actions = reconcile(wanted(of(2)), fleet(replica(1, replica=0)), 0.0, WIDE)

    assert actions == [Start("v1.2", replace(spec(), replica=1))]


def test_stop_first_ends_one_replica_at_a_time() -> None:
    asked = wanted(replace(of(2, files="b"), replace="stop_first"))
    before = fleet(replica(1, replica=0), replica(2, replica=1))

    draining, actions = carry_on(asked, before, policy=WIDE)
    assert actions == [Drain("v1.1", "replaced")]
    gone = apply(draining, Exited("v1.1", 0, "exited with code 0"), 1.0, POLICY)

    assert reconcile(asked, gone, 1.0, WIDE) == [Start("v1.3", spec(files="b"))]


def test_a_failure_of_one_replica_holds_back_the_others() -> None:
    loading, _ = carry_on(wanted(of(2)), fleet(), policy=WIDE)

    crashed = apply(loading, Exited("v1.1", -11, "killed"), 1.0, WIDE)
    again = apply(crashed, Exited("v1.2", -11, "killed"), 1.5, WIDE)

    failure = again.slot("v1").failure
    assert failure is not None
    assert failure.attempt == 2
    assert reconcile(wanted(of(2)), again, 1.5, WIDE) == []


@pytest.mark.parametrize(
    ("asked", "instances", "expected"),
    [
        (of(2), [replica(1, replica=0), replica(2, replica=1)], ["v1.1", "v1.2"]),
        (
            of(2, files="b"),
            [replica(1, replica=0), replica(2, replica=1), replica(3, replica=0, files="b")],
            ["v1.2", "v1.3"],
        ),
        (
            of(1, files="b"),
            [replica(2, replica=1), replica(3, replica=0, files="b")],
            ["v1.3"],
        ),
        (of(1, files="b"), [replica(2, replica=1)], ["v1.2"]),
    ],
    ids=["all run", "one is replaced", "one too many", "one too many is all there is"],
)
def test_every_replica_answers_through_its_newest_process(
    asked: WantedVersion, instances: list[Instance], expected: list[str]
) -> None:
    assert targets(asked, *instances) == expected


def test_a_plan_starts_a_version_that_gets_more_replicas() -> None:
    assert plan(wanted(of(2)), fleet(replica(1, replica=0))).started == ("v1",)


def test_there_is_no_verdict_before_the_last_replica_runs() -> None:
    two = fleet(replica(1, replica=0), replica(2, replica=1, state=State.STARTING))

    assert verdict(wanted(of(2)), two) is None
