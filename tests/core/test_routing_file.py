"""The routes table's way through its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
from hypothesis import given

from rerank_server.core.limits import VersionLimits
from rerank_server.core.routing import RoutesTable, from_json, to_json
from rerank_server.core.traffic import Arm, Mirror, Source, Stage, Traffic
from tests.core.build import route
from tests.core.routes_build import TABLE, table, tables


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
