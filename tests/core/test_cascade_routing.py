"""A cascade among the candidates: there while each of its stages has a live target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.routing import (
    Candidate,
    RoutesTable,
    Target,
    VersionRoute,
    answers,
    candidates,
    from_json,
    is_served,
    to_json,
)
from rerank_server.core.traffic import Stage
from tests.gateway.fakes import route, table

STAGES = (Stage("v1", 20), Stage("v2"))


def cascade(*fallback: str, stages: tuple[Stage, ...] = STAGES) -> VersionRoute:
    return replace(route("v2-fast", fallback=fallback), cascade=stages, absent=None)


def routed(*instances: str) -> RoutesTable:
    """Return a table where these processes run, as `v1.1`."""
    return table(
        cascade("v2"),
        *(
            route(name, *(i for i in instances if i.startswith(f"{name}.")), fallback=["v2-fast"])
            for name in ("v1", "v2")
        ),
    )


def test_a_cascade_is_one_candidate_that_names_its_stages() -> None:
    first, *others = candidates(routed("v1.1", "v1.2", "v2.1"), "v2-fast")

    assert first == Candidate("v2-fast", Target("v2-fast=v1>v2", ""), STAGES)
    assert [each.target.instance for each in others] == ["v2.1"]


@pytest.mark.parametrize("instances", [["v1.1"], ["v2.1"], []])
def test_a_cascade_without_one_of_its_stages_is_no_candidate(instances: list[str]) -> None:
    found = routed(*instances)

    assert not is_served(found, "v2-fast")
    assert all(each.version != "v2-fast" for each in candidates(found, "v2-fast"))
    assert not answers(found, "v2-fast", strict=True)
    assert answers(found, "v2-fast") is ("v2.1" in instances)


def test_a_cascade_may_be_anothers_fallback() -> None:
    found = table(
        route("v3", fallback=["v2-fast"]), cascade(), route("v1", "v1.1"), route("v2", "v2.1")
    )

    assert [each.version for each in candidates(found, "v3")] == ["v2-fast"]


def test_a_process_from_before_it_was_a_cascade_answers_until_the_stages_do() -> None:
    old = replace(cascade(), targets=(Target("v2-fast.1", "/w/v2-fast.1.sock"),))
    before = table(old, route("v1", "v1.1"), route("v2"))
    after = table(old, route("v1", "v1.1"), route("v2", "v2.1"))

    assert [each.target.instance for each in candidates(before, "v2-fast")] == ["v2-fast.1"]
    assert [each.stages for each in candidates(after, "v2-fast")] == [STAGES]


def test_a_stage_that_is_not_in_the_table_serves_nothing() -> None:
    assert not is_served(table(cascade(stages=(Stage("v9", 2), Stage("v8")))), "v2-fast")


def test_stages_survive_the_way_through_the_file() -> None:
    found = routed("v1.1")

    assert from_json(to_json(found)) == found
