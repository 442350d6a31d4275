"""Where a request walks that the split sent to an arm, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from rerank_server.core.limits import Limits
from rerank_server.core.routing import (
    Choice,
    FallbackReason,
    RoutesTable,
    choose,
)
from rerank_server.core.stops import away, stops, why
from rerank_server.core.traffic import Arm, Stage, Traffic
from tests.core.build import route


def table(*arms: Arm) -> RoutesTable:
    routes = (
        route("v1", "v1.1", fallback=("v3",)),
        route("v2", "v2.1", "v2.2"),
        route("v3", "v3.1", fallback=("v1",)),
        route("v4", absent=FallbackReason.FAILED, fallback=("v3", "v1")),
        route("v5", absent=FallbackReason.DISABLED, enabled=False, fallback=("v1",)),
    )
    return RoutesTable(
        generation=1,
        gateway_generation=1,
        default="v1",
        last_resort=None,
        versions=MappingProxyType({r.name: r for r in routes}),
        limits=Limits(),
        traffic=Traffic(arms),
    )


ALL_TO_V2 = table(Arm("v2", 100.0))
UNKNOWN = FallbackReason.UNKNOWN_VERSION


def by_split(arm: str) -> Choice:
    return Choice(arm, "traffic", arm, None, arm)


def walk(choice: Choice) -> list[str]:
    return [stop.target.instance for stop in stops(ALL_TO_V2, choice)]


# --- who takes part -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "header", "model", "expected"),
    [
        (None, None, None, by_split("v2")),
        (None, "", "", by_split("v2")),
        (None, None, "rerank-v3.5", Choice("v2", "traffic", "unknown", UNKNOWN, "v2")),
        ("v1", None, None, Choice("v1", "path", "v1")),
        (None, "v1", None, Choice("v1", "header", "v1")),
        (None, None, "v1", Choice("v1", "body", "v1")),
        (None, "v9", None, Choice("v1", "header", "unknown", UNKNOWN)),
        (None, "v9", "v9", Choice("v1", "header", "unknown", UNKNOWN)),
        (None, "v5", None, Choice("v1", "header", "v5", FallbackReason.DISABLED)),
        (None, None, "v5", Choice("v1", "body", "v5", FallbackReason.DISABLED)),
    ],
)
def test_whoever_names_a_version_takes_no_part_in_the_split(
    path: str | None, header: str | None, model: str | None, expected: Choice
) -> None:
    assert choose(ALL_TO_V2, path_version=path, header=header, model=model, key="k") == expected


def test_the_default_is_an_arm_like_the_others() -> None:
    assert choose(table(Arm("v2", 0.0)), key="k") == by_split("v1")


def test_without_shares_nothing_is_decided() -> None:
    assert choose(table(), key="k") == Choice("v1", "default", "v1")


def test_a_page_about_a_version_takes_no_part() -> None:
    assert choose(ALL_TO_V2) == Choice("v1", "default", "v1")


def test_the_share_of_a_version_that_is_not_in_the_table_is_the_defaults() -> None:
    assert choose(table(Arm("v9", 100.0)), key="k") == by_split("v1")


def test_a_cascade_is_an_arm_while_its_stages_serve() -> None:
    stages = (Stage("v2", 20), Stage("v3"))
    cascade = replace(route("v6", absent=FallbackReason.FAILED), cascade=stages)
    served = replace(ALL_TO_V2, versions={**ALL_TO_V2.versions, "v6": cascade})
    broken = replace(served, versions={**served.versions, "v3": route("v3")})

    assert [stop.version for stop in stops(served, by_split("v6"))] == ["v6", "v1", "v3"]
    assert [stop.version for stop in stops(broken, by_split("v6"))] == ["v1"]
    assert away(broken, by_split("v6")) is FallbackReason.FAILED


# --- the walk -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (by_split("v2"), ["v2.1", "v2.2", "v1.1", "v3.1"]),
        (Choice("v2", "path", "v2"), ["v2.1", "v2.2"]),
        (by_split("v4"), ["v1.1", "v3.1"]),
        (Choice("v4", "path", "v4"), ["v3.1", "v1.1"]),
        (by_split("v3"), ["v3.1", "v1.1"]),
        (by_split("v1"), ["v1.1", "v3.1"]),
        (by_split("v9"), ["v1.1", "v3.1"]),
        (Choice("v9", "path", "v9"), []),
    ],
    ids=[
        "an arm without fallback ends at the default",
        "asked for by name it does not",
        "an arm that is away is the default's",
        "asked for by name it is its chain's",
        "each instance once",
        "the default",
        "an arm that was taken out meanwhile",
        "a version that was taken out meanwhile",
    ],
)
def test_the_defaults_walk_follows_that_of_an_arm(choice: Choice, expected: list[str]) -> None:
    assert walk(choice) == expected


@pytest.mark.parametrize(
    ("choice", "served", "refusal", "expected"),
    [
        (by_split("v2"), "v2", None, None),
        (by_split("v1"), "v1", None, None),
        (by_split("v2"), "v1", FallbackReason.DRAINING, ("v2", FallbackReason.DRAINING)),
        (by_split("v2"), "v1", None, ("v2", FallbackReason.LOST)),
        (by_split("v4"), "v1", None, ("v4", FallbackReason.FAILED)),
        (by_split("v9"), "v1", None, ("v9", FallbackReason.DISABLED)),
        (Choice("v2", "traffic", "unknown", UNKNOWN, "v2"), "v2", None, ("unknown", UNKNOWN)),
        (
            Choice("v4", "traffic", "unknown", UNKNOWN, "v4"),
            "v1",
            None,
            ("v4", FallbackReason.FAILED),
        ),
        (Choice("v4", "path", "v4"), "v3", None, ("v4", FallbackReason.FAILED)),
        (Choice("v2", "path", "v2"), "v2", None, None),
    ],
)
def test_it_is_said_why_another_version_answers_than_the_arm(
    choice: Choice,
    served: str,
    refusal: FallbackReason | None,
    expected: tuple[str, FallbackReason] | None,
) -> None:
    assert why(ALL_TO_V2, choice, served, refusal) == expected


def test_a_version_without_a_process_and_without_a_reason_counts_as_lost() -> None:
    bare = replace(ALL_TO_V2, versions={"v2": route("v2")})

    assert away(bare, by_split("v2")) is FallbackReason.LOST
