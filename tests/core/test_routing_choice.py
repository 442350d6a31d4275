"""Which version answers a request, and which processes are asked for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core.routing import (
    Candidate,
    Choice,
    FallbackReason,
    RoutesTable,
    absence,
    answers,
    candidates,
    choose,
)
from rerank_server.names import nearest
from tests.core.build import route, target
from tests.core.routes_build import TABLE, table, tables

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


# --- names and JSON -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"), [("v2-m", "v2-m3"), ("V2-M3", "v2-m3"), ("gpt-4", None), ("", None)]
)
def test_a_wrong_name_has_a_nearest_right_one(name: str, expected: str | None) -> None:
    assert nearest(name, ["v1", "v2-m3", "v2-gemma"]) == expected
