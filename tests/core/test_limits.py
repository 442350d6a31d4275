"""What each gateway process may hold, so that all of them together hold what the config says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core.limits import Limits, VersionLimits, share, version_share

SHARED = ("max_concurrent_requests", "max_in_flight_bytes", "max_queued_pairs")


def test_one_process_has_all_of_it() -> None:
    assert share(Limits(), 1) == Limits()
    assert version_share(VersionLimits(), 1) == VersionLimits()


@pytest.mark.parametrize(
    ("processes", "requests", "held_bytes", "pairs"),
    [
        (2, 500, 134_217_728, 100_000),
        (3, 334, 89_478_486, 66_667),
        (16, 63, 33_554_432, 12_500),  # a sixteenth of the bytes would take no body of full size
        (256, 4, 33_554_432, 10_000),
    ],
)
def test_each_process_has_its_part_but_room_for_the_largest_request(
    processes: int, requests: int, held_bytes: int, pairs: int
) -> None:
    part = share(Limits(), processes)

    assert part.max_concurrent_requests == requests
    assert part.max_in_flight_bytes == held_bytes
    assert part.max_queued_pairs == pairs


numbers = st.integers(1, 10_000)


@given(
    st.builds(
        Limits,
        max_body_bytes=numbers,
        max_docs=numbers,
        max_concurrent_requests=numbers,
        max_in_flight_bytes=numbers,
        max_queued_pairs=numbers,
    ),
    st.integers(1, 256),
)
def test_all_parts_together_are_the_whole_and_no_part_is_more(limits: Limits, n: int) -> None:
    part = share(limits, n)

    for key in Limits.__slots__:
        whole, own = getattr(limits, key), getattr(part, key)
        assert own <= whole
        assert own * n >= whole if key in SHARED else own == whole


@given(st.builds(VersionLimits, max_body_bytes=numbers, max_in_flight_bytes=numbers), numbers)
def test_a_version_s_queue_is_of_its_own_processes(limits: VersionLimits, n: int) -> None:
    part = version_share(limits, n)

    assert part.max_queued_pairs == limits.max_queued_pairs
    assert part.max_concurrent_requests == max(1, -(-1000 // n))
    assert part.max_in_flight_bytes >= min(limits.max_in_flight_bytes, limits.max_body_bytes)
