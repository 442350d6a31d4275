from __future__ import annotations

from rerank_server.core.routing import Candidate, Target
from rerank_server.gateway.loads import Loads


def candidate(version: str, number: int) -> Candidate:
    return Candidate(version, Target(f"{version}.{number}", f"/run/w/{version}.{number}.sock"))


A, B, C = candidate("v1", 1), candidate("v1", 2), candidate("v1", 3)
OTHER = candidate("v2", 1)


def test_the_instance_with_least_to_do_is_asked() -> None:
    loads = Loads()

    with loads.held("v1.1"), loads.held("v1.1"), loads.held("v1.2"):
        assert loads.pick([A, B]) == B
        with loads.held("v1.2"), loads.held("v1.2"):
            assert loads.pick([A, B]) == A


def test_of_equals_the_one_not_asked_for_longest_is() -> None:
    loads = Loads()
    order = []

    for _ in range(6):
        chosen = loads.pick([A, B, C])
        assert chosen is not None
        order.append(chosen.target.instance)
        with loads.held(chosen.target.instance):
            pass

    assert order == ["v1.1", "v1.2", "v1.3"] * 2


def test_a_fallback_is_not_asked_before_the_version_itself() -> None:
    loads = Loads()

    with loads.held("v1.1"), loads.held("v1.1"):
        assert loads.pick([A, OTHER]) == A


def test_nobody_is_asked_when_nobody_is_there() -> None:
    assert Loads().pick([]) is None
