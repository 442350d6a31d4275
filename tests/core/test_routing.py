from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core.access import PAGES, Access, ApiKey
from rerank_server.core.limits import Limits, VersionLimits
from rerank_server.core.routing import (
    Candidate,
    Choice,
    FallbackReason,
    RoutesTable,
    VersionRoute,
    absence,
    answers,
    candidates,
    choose,
    fallback_chain,
    from_json,
    to_json,
)
from rerank_server.core.traffic import Arm, Mirror, Source, Stage, Traffic
from rerank_server.names import nearest
from tests.core.build import route, target

LIMITS = Limits(
    request_timeout_s=60.0,
    max_body_bytes=1 << 20,
    max_docs=1000,
    body_timeout_s=30.0,
    keep_alive_s=30.0,
)


def table(*routes: VersionRoute, default: str = "v1", is_stopping: bool = False) -> RoutesTable:
    return RoutesTable(
        generation=3,
        gateway_generation=1,
        default=default,
        last_resort=None,
        versions=MappingProxyType({r.name: r for r in routes}),
        limits=LIMITS,
        is_stopping=is_stopping,
    )


TABLE = table(
    route("v1", "v1.1"),
    route("v2", "v2.4", "v2.5", fallback=("v3", "v1")),
    route("v3", enabled=False, absent=FallbackReason.DISABLED, fallback=("v1",)),
    route("v4", absent=FallbackReason.BACKOFF, fallback=("v3", "v1")),
    route("v5", absent=FallbackReason.FAILED),
)


# --- choosing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "header", "model", "expected"),
    [
        (None, None, None, Choice("v1", "default", "v1")),
        ("v2", "v4", "v5", Choice("v2", "path", "v2")),
        ("v3", None, None, Choice("v3", "path", "v3")),
        (None, "v2", "v4", Choice("v2", "header", "v2")),
        (None, None, "v4", Choice("v4", "body", "v4")),
        (None, "", "v4", Choice("v4", "body", "v4")),
        (None, "", "", Choice("v1", "default", "v1")),
        (None, "v9", "v2", Choice("v1", "header", "unknown", FallbackReason.UNKNOWN_VERSION)),
        (None, None, "gpt-4", Choice("v1", "body", "unknown", FallbackReason.UNKNOWN_VERSION)),
        (None, "v3", None, Choice("v1", "header", "v3", FallbackReason.DISABLED)),
        (None, None, "v3", Choice("v1", "body", "v3", FallbackReason.DISABLED)),
    ],
)
def test_path_goes_before_header_before_body_before_default(
    path: str | None, header: str | None, model: str | None, expected: Choice
) -> None:
    assert choose(TABLE, path_version=path, header=header, model=model) == expected


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_clients_text_never_becomes_a_label(header: str, model: str) -> None:
    choice = choose(TABLE, header=header, model=model)

    assert choice.version in TABLE.versions
    assert choice.asked in {*TABLE.versions, "unknown"}


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (Choice("v1", "default", "v1"), None),
        (Choice("v4", "path", "v4"), FallbackReason.BACKOFF),
        (Choice("v1", "header", "v3", FallbackReason.DISABLED), FallbackReason.DISABLED),
    ],
)
def test_the_reason_is_why_the_version_asked_for_does_not_answer(
    choice: Choice, reason: FallbackReason | None
) -> None:
    assert absence(TABLE, choice) is reason


# --- walking ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v1", ["v1.1"]),
        ("v2", ["v2.4", "v2.5", "v1.1"]),
        ("v3", ["v1.1"]),
        ("v4", ["v1.1"]),
        ("v5", []),
    ],
)
def test_a_walk_goes_from_the_version_itself_through_its_fallbacks(
    version: str, expected: list[str]
) -> None:
    assert [c.target.instance for c in candidates(TABLE, version)] == expected


def test_a_candidate_says_which_version_answers() -> None:
    assert list(candidates(TABLE, "v4")) == [Candidate("v1", target("v1.1"))]


def test_a_disabled_default_that_still_runs_answers_for_itself_alone() -> None:
    kept = table(route("v1", "v1.1", enabled=False), route("v2", fallback=("v1",)))

    assert [c.version for c in candidates(kept, "v1")] == ["v1"]
    assert list(candidates(kept, "v2")) == []


def test_a_fallback_that_is_not_in_the_table_is_passed_over() -> None:
    assert list(candidates(table(route("v1", fallback=("v9",))), "v1")) == []


@pytest.mark.parametrize(
    ("version", "strict", "expected"),
    [
        (None, False, True),
        (None, True, True),
        ("v4", False, True),
        ("v4", True, False),
        ("v5", False, False),
        ("v9", False, False),
    ],
)
def test_a_version_answers_while_some_candidate_lives(
    version: str | None, strict: bool, expected: bool
) -> None:
    assert answers(TABLE, version, strict=strict) is expected


def test_unless_told_strict_a_fallback_is_an_answer() -> None:
    assert answers(TABLE, "v4")


def test_a_server_that_stops_answers_nobody_new() -> None:
    assert not answers(replace(TABLE, is_stopping=True))


names = st.sampled_from(["v1", "v2", "v3", "v4"])
instance_ids = st.sampled_from(["v1.1", "v1.2", "v2.1", "v3.7"])
reasons = st.none() | st.sampled_from(FallbackReason)
routes = st.builds(
    VersionRoute,
    name=names,
    endpoint=st.text(max_size=10),
    description=st.text(max_size=10),
    enabled=st.booleans(),
    targets=st.lists(instance_ids.map(target), max_size=3).map(tuple),
    absent=reasons,
    fallback=st.lists(st.sampled_from(["v1", "v2", "v3", "v4", "v9"]), max_size=5).map(tuple),
    degraded=reasons,
    limits=st.builds(VersionLimits, max_docs=st.integers(1, 10_000)),
)
tables = st.builds(
    RoutesTable,
    generation=st.integers(0, 10_000),
    gateway_generation=st.integers(0, 10_000),
    default=names,
    last_resort=st.none() | names,
    versions=st.lists(routes, min_size=1, max_size=4, unique_by=lambda r: r.name).map(
        lambda found: {r.name: r for r in found}
    ),
    limits=st.builds(
        Limits,
        request_timeout_s=st.floats(0.1, 1e5),
        max_body_bytes=st.integers(1, 1 << 30),
        max_docs=st.integers(1, 10_000),
        body_timeout_s=st.floats(0.1, 1e5),
        keep_alive_s=st.floats(0.1, 1e5),
    ),
    access=st.builds(
        Access,
        keys=st.lists(st.builds(ApiKey, digest=st.text(max_size=5))).map(tuple),
        protect=st.lists(st.sampled_from(PAGES)).map(tuple),
        cors_origins=st.lists(st.text(max_size=5)).map(tuple),
    ),
    is_stopping=st.booleans(),
)


@given(tables)
def test_a_walk_visits_each_instance_once_and_never_a_disabled_foreign_version(
    table: RoutesTable,
) -> None:
    for version in table.versions:
        walk = list(candidates(table, version))

        visited = [c.target.instance for c in walk]
        assert len(visited) == len(set(visited))
        assert all(c.version == version or table.versions[c.version].enabled for c in walk)
        assert {c.version for c in walk} <= {version, *table.versions[version].fallback}


# --- fallback chains ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "default", "last_resort", "expected"),
    [
        ({"v2": None}, "v1", None, ("v1",)),
        ({"v2": None}, "v1", "v3", ("v1", "v3")),
        ({"v2": None}, "v2", "v3", ("v3",)),
        ({"v2": None}, "v2", "v2", ()),
        ({"v2": None}, "v1", "v1", ("v1",)),
        ({"v2": "none"}, "v1", "v3", ()),
        ({"v2": "v4", "v4": None}, "v1", "v3", ("v4", "v1", "v3")),
        ({"v2": "v4", "v4": "v3", "v3": None}, "v1", "v3", ("v4", "v3", "v1")),
        ({"v2": "v4", "v4": "none"}, "v1", "v3", ("v4",)),
        ({"v2": "v4", "v4": "v2"}, "v1", None, ("v4", "v1")),
        ({"v2": "v9"}, "v1", None, ("v9", "v1")),
        ({}, "v1", None, ("v1",)),
    ],
    ids=[
        "default",
        "last resort",
        "is the default",
        "is all of them",
        "default is the last resort",
        "none",
        "its own",
        "its own includes the last resort",
        "ends in none",
        "cycle",
        "unknown",
        "not configured",
    ],
)
def test_a_chain_ends_in_the_default_and_the_last_resort_unless_told_none(
    own: dict[str, str | None], default: str, last_resort: str | None, expected: tuple[str, ...]
) -> None:
    assert fallback_chain("v2", own, default, last_resort) == expected


@given(
    names,
    st.dictionaries(names, st.none() | st.just("none") | names),
    names,
    st.none() | names,
)
def test_a_chain_has_no_repeats_and_never_contains_itself(
    name: str, own: dict[str, str | None], default: str, last_resort: str | None
) -> None:
    chain = fallback_chain(name, own, default, last_resort)

    assert len(chain) == len(set(chain))
    assert name not in chain
    assert "none" not in chain


# --- names and JSON -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"), [("v2-m", "v2-m3"), ("V2-M3", "v2-m3"), ("gpt-4", None), ("", None)]
)
def test_a_wrong_name_has_a_nearest_right_one(name: str, expected: str | None) -> None:
    assert nearest(name, ["v1", "v2-m3", "v2-gemma"]) == expected


@given(tables)
def test_a_table_survives_its_way_through_the_file(table: RoutesTable) -> None:
    written = json.dumps(to_json(table))

    read = from_json(json.loads(written))

    assert read == table
    assert list(read.versions) == list(table.versions)


def test_the_file_of_a_table_keeps_its_shape() -> None:
    stages = (Stage("v2", 20), Stage("v3"))
    one = replace(
        table(replace(route("v1", "v1.1", fallback=("v2",)), cascade=stages), is_stopping=True),
        traffic=Traffic((Arm("v2", 5.0),), Source.ROLLOUT),
        mirror=Mirror("v2", 0.1),
    )

    assert from_json(to_json(one)) == one
    assert json.loads(json.dumps(to_json(one))) == {
        "schema": 1,
        "generation": 3,
        "gateway": {"generation": 1},
        "default": "v1",
        "last_resort": None,
        "stopping": True,
        "limits": {
            "request_timeout_s": 60.0,
            "max_body_bytes": 1048576,
            "max_docs": 1000,
            "body_timeout_s": 30.0,
            "keep_alive_s": 30.0,
            "head_timeout_s": 10.0,
            "max_head_bytes": 65536,
            "max_connections": 10000,
            "max_doc_chars": 1000000,
            "max_concurrent_requests": 1000,
            "max_in_flight_bytes": 268435456,
            "max_queued_pairs": 200000,
        },
        "access": {
            "keys": [],
            "protect": ["/versions", "/metrics", "/docs", "/openapi.json"],
            "cors_origins": [],
        },
        "traffic": {"source": "rollout", "arms": [{"version": "v2", "share": 5.0}]},
        "mirror": {"to": "v2", "share": 0.1},
        "versions": {
            "v1": {
                "endpoint": "/rerank/v1",
                "description": "",
                "enabled": True,
                "targets": [{"instance": "v1.1", "socket": "/run/w/v1.1.sock"}],
                "absent": None,
                "fallback": ["v2"],
                "degraded": None,
                "limits": {
                    "request_timeout_s": 60.0,
                    "max_body_bytes": 33554432,
                    "max_docs": 10000,
                    "max_doc_chars": 1000000,
                    "max_concurrent_requests": 1000,
                    "max_in_flight_bytes": 268435456,
                    "max_queued_pairs": 20000,
                },
                "cascade": [{"version": "v2", "keep": 20}, {"version": "v3", "keep": None}],
            }
        },
    }


Obj = dict[str, object]


def without(key: str) -> Callable[[Obj], Obj]:
    return lambda obj: {k: v for k, v in obj.items() if k != key}


def with_route(**changes: object) -> Callable[[Obj], Obj]:
    plain = {
        "endpoint": "/a",
        "description": "",
        "enabled": True,
        "targets": [],
        "absent": None,
        "fallback": [],
        "degraded": None,
        "limits": asdict(VersionLimits()),
        "cascade": [],
    }
    return lambda obj: {**obj, "versions": {"v1": {**plain, **changes}}}


@pytest.mark.parametrize(
    "spoil",
    [
        without("generation"),
        without("gateway"),
        without("versions"),
        without("default"),
        without("last_resort"),
        without("stopping"),
        without("traffic"),
        without("mirror"),
        lambda obj: {**obj, "traffic": {"source": "config", "arms": {}}},
        lambda obj: {**obj, "mirror": 1},
        with_route(cascade={}),
        without("access"),
        lambda obj: {**obj, "access": []},
        lambda obj: {**obj, "access": {"keys": "k", "protect": [], "cors_origins": []}},
        lambda obj: {**obj, "limits": []},
        lambda obj: {**obj, "limits": {"max_cats": 1}},
        with_route(limits=None),
        with_route(limits={"max_cats": 1}),
        lambda obj: {**obj, "gateway": {}},
        lambda obj: {**obj, "generation": "soon"},
        lambda obj: {**obj, "versions": {"v1": None}},
        with_route(targets="v1.1"),
        with_route(targets=[{"instance": "v1.1"}]),
        with_route(targets=["v1.1"]),
        with_route(fallback=None),
        with_route(absent="gone fishing"),
        with_route(degraded="a bit"),
    ],
)
def test_what_is_no_table_is_refused(spoil: Callable[[Obj], Obj]) -> None:
    obj: Obj = json.loads(json.dumps(to_json(TABLE)))

    with pytest.raises((KeyError, TypeError, ValueError)):
        from_json(spoil(obj))
