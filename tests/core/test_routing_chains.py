"""Where a version's fallbacks lead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core.routing import fallback_chain
from tests.core.routes_build import names


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
