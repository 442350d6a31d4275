"""Routes tables for tests: one by hand, and any."""

from __future__ import annotations

from types import MappingProxyType

from hypothesis import strategies as st

from rerank_server.core.access import PAGES, Access, ApiKey
from rerank_server.core.limits import Limits, VersionLimits
from rerank_server.core.routing import FallbackReason, RoutesTable, VersionRoute
from tests.core.build import LIMITS, route, target


def table(*routes: VersionRoute, default: str = "v1", is_stopping: bool = False) -> RoutesTable:
    """Return a table of these routes."""
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
