"""Which answered requests are copied."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.limits import VersionLimits
from rerank_server.core.routing import FallbackReason
from rerank_server.core.traffic import fraction
from rerank_server.gateway.copies import Result
from rerank_server.gateway.dialect import Fallback
from rerank_server.gateway.mirror import MAX_DOC_CHARS, MAX_DOCS
from tests.gateway.mirror_room import Room, mirrored, offer_one, run


def test_the_share_is_drawn_by_request_id_and_always_alike(room: Room) -> None:
    room.routes.show(mirrored(share=0.25))
    ids = [f"id-{number}" for number in range(200)]
    drawn = [each for each in ids if fraction(each, "mirror") < 0.25]

    async def scenario() -> None:
        for count, request_id in enumerate(drawn, start=1):
            room.offer(request_id)
            await room.settle(count)
        for request_id in set(ids) - set(drawn):
            room.offer(request_id)

    run(scenario)

    assert [errand.request_id for errand in room.workers.errands] == drawn
    assert 30 < len(drawn) < 70
    assert room.counted.named() == ["compared"] * len(drawn)


@pytest.mark.parametrize(
    ("version", "asked", "reason"),
    [
        pytest.param("v2", None, None, id="it answered"),
        pytest.param("v2", "v1", FallbackReason.STARTING, id="it answered for another"),
        pytest.param("v1", "v2", FallbackReason.DRAINING, id="it should have answered"),
        pytest.param("v1", "v2", FallbackReason.LOST, id="it died with the text"),
        pytest.param("v1", "v3", FallbackReason.LOST, id="a third one died with the text"),
    ],
)
def test_a_request_that_concerned_the_version_itself_or_killed_a_process_is_not_copied(
    room: Room, version: str, asked: str | None, reason: FallbackReason | None
) -> None:
    fallback = Fallback(asked, reason) if asked and reason else None

    offer_one(room, "id", version, fallback=fallback)

    assert room.workers.visits == []
    assert room.counted.results == []


def test_a_request_that_another_version_answered_for_a_third_is_copied(room: Room) -> None:
    offer_one(room, "id", "v1", fallback=Fallback("v3", FallbackReason.STARTING))

    assert room.counted.results == [("v1", "v2", Result.COMPARED)]


def test_without_a_mirror_nothing_is_copied(room: Room) -> None:
    room.routes.show(replace(mirrored(), mirror=None))
    offer_one(room)
    room.routes.view = None
    offer_one(room)

    assert room.counted.results == []


@pytest.mark.parametrize(
    "options",
    [
        {"docs": ["a"], "raw": [1.0]},
        {"docs": [], "raw": []},
        {"queries": ["q", "r", "s"]},
        {"docs": ["d"] * (MAX_DOCS + 1), "raw": [1.0] * (MAX_DOCS + 1)},
        {"docs": ["d", "d" * (MAX_DOC_CHARS + 1)], "raw": [1.0, 2.0]},
    ],
    ids=["one document", "none", "pairs", "very many", "very long"],
)
def test_what_cannot_be_compared_is_skipped(room: Room, options: dict[str, object]) -> None:
    offer_one(room, **options)

    assert room.workers.visits == []
    assert room.counted.results == [("v1", "v2", Result.SKIPPED)]


@pytest.mark.parametrize(
    "limits",
    [
        VersionLimits(max_docs=2),
        VersionLimits(max_queued_pairs=2),
        VersionLimits(max_doc_chars=2),
    ],
)
def test_what_the_version_would_refuse_is_skipped(room: Room, limits: VersionLimits) -> None:
    shown = mirrored()
    small = replace(shown.versions["v2"], limits=limits)
    room.routes.show(replace(shown, versions={**shown.versions, "v2": small}))

    offer_one(room)
    offer_one(room, docs=["a", "bb"], raw=[1.0, 2.0])

    assert room.counted.named() == ["skipped", "compared"]
