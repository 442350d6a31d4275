"""Rows laid end to end: every token once, in groups of one length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_workers.engines.batch import Row
from rerank_workers.engines.packed import WIDTH_STEP, pack, rectangle, runs, widened

LENGTHS = st.lists(st.integers(1, 70), min_size=1, max_size=20)


def row(length: int, first: int = 5) -> Row:
    ids = np.arange(first, first + length, dtype=np.int32)
    return Row(ids, np.ones(length, dtype=np.uint8))


@given(LENGTHS)
def test_every_row_lies_whole_in_the_group_of_its_length(lengths: list[int]) -> None:
    rows = [row(length, first=10 * index) for index, length in enumerate(lengths)]

    packed = pack(rows, None)

    assert sorted(packed.order) == list(range(len(rows)))
    for place, index in enumerate(packed.order):
        first = packed.firsts[place]
        own = slice(first, first + lengths[index])
        assert packed.lengths[place] == lengths[index]
        np.testing.assert_array_equal(packed.ids[own], rows[index].ids)
        np.testing.assert_array_equal(packed.types[own], rows[index].types)
        np.testing.assert_array_equal(packed.places[own], np.arange(lengths[index]))
    grouped = [g.length for g in packed.groups for _ in range(g.rows)]
    assert grouped == sorted(lengths)
    assert len({g.length for g in packed.groups}) == len(packed.groups)


@given(LENGTHS)
def test_one_may_read_beyond_the_end_of_any_row(lengths: list[int]) -> None:
    packed = pack([row(length) for length in lengths], None)

    for group in packed.groups:
        last = group.start + (group.rows - 1) * group.length
        assert last + widened(group.length) <= len(packed.ids)
    assert len(packed.ids) - sum(lengths) < WIDTH_STEP


def test_a_padding_token_in_a_text_takes_no_position() -> None:
    ids = np.array([0, 9, 1, 7], dtype=np.int32)

    packed = pack([Row(ids, np.zeros(4, dtype=np.uint8))], 1)

    assert packed.places[:4].tolist() == [2, 3, 1, 4]


@given(LENGTHS)
def test_a_rectangle_pads_every_row_to_one_width(lengths: list[int]) -> None:
    rows = [row(length) for length in lengths]

    packed = rectangle(rows, 1, pad_id=1)

    (group,) = packed.groups
    assert group.length == widened(max(lengths))
    ids = packed.ids.reshape(group.rows, group.length)
    places = packed.places.reshape(group.rows, group.length)
    for index, length in enumerate(lengths):
        np.testing.assert_array_equal(ids[index, :length], rows[index].ids)
        assert set(ids[index, length:]) <= {1}
        np.testing.assert_array_equal(places[index, :length], np.arange(length) + 2)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([4], [[0]]),
        ([40], [[0]]),
        ([4, 6, 3], [[1, 0], [2]]),
        ([4, 40, 6], [[1], [2, 0]]),
        ([3, 3, 3, 3], [[0, 1], [2, 3]]),  # not [0, 1, 2] and a rest
        ([5, 5, 1], [[0, 1], [2]]),
        ([], []),
    ],
)
def test_runs_are_few_and_about_as_large(lengths: list[int], expected: list[list[int]]) -> None:
    assert list(runs([row(length) for length in lengths], 10)) == expected


@given(LENGTHS, st.integers(1, 200))
def test_no_run_exceeds_its_tokens_by_a_whole_row(lengths: list[int], most: int) -> None:
    cut = list(runs([row(length) for length in lengths], most))

    assert sorted(index for run in cut for index in run) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in run[:-1]) < most for run in cut)
    assert len(cut) <= -(-sum(lengths) // most)
