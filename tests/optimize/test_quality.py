"""How agreement is measured, and what counts as too little of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_workers.engines.batch import Floats, Row
from rerank_workers.optimize import texts
from rerank_workers.optimize.proof import Limits, Proof, neighbours, race
from rerank_workers.optimize.quality import Quality, compare, ndcg, spearman, top_overlap
from rerank_workers.optimize.texts import Request, TextsError

SCORES = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=30, unique=True)
GOOD = Quality(0.9995, 0.995, 0.1, 0.01, 0.87, 0.873)


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


@given(SCORES)
def test_equal_rankings_agree_fully_and_reversed_ones_not_at_all(scores: list[float]) -> None:
    first = floats(*scores)

    assert spearman(first, first) == pytest.approx(1)
    assert spearman(first, -first) == pytest.approx(-1)
    assert top_overlap(first, first) == 1


def test_the_overlap_counts_the_ten_best() -> None:
    first = np.arange(20, dtype=np.float32)
    second = first.copy()
    second[[10, 9]] = second[[9, 10]]  # the tenth best and the one after it

    assert top_overlap(first, second) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("scores", "relevant", "expected"),
    [
        ((3, 2, 1), (0,), 1.0),
        ((2, 3, 1), (0,), 0.6309297535714575),
        ((3, 2, 1), (0, 1), 1.0),
        (tuple(range(12)), (0,), 0.0),  # beyond the tenth place
    ],
)
def test_ndcg_is_the_usual_one(
    scores: tuple[float, ...], relevant: tuple[int, ...], expected: float
) -> None:
    assert ndcg(floats(*scores), relevant) == pytest.approx(expected)


def test_values_are_compared_not_only_ranks() -> None:
    original = floats(1, 2, 3)

    quality = compare([original], [original + 20_000], [()])

    assert quality.spearman == pytest.approx(1)
    assert quality.max_deviation == pytest.approx(20_000)
    assert quality.ndcg is None
    assert Proof(quality, 0.0).faults(Limits()) == ["a score moved by 20000.00, more than 0.5"]


@pytest.mark.parametrize(
    ("quality", "moved", "fault"),
    [
        (Quality(0.997, 1, 0.1, 0, None, None), 0.0, "Spearman 0.9970 is below 0.998"),
        (Quality(1, 0.97, 0.1, 0, None, None), 0.0, "top-10 overlap 0.970 is below 0.98"),
        (Quality(1, 1, float("nan"), 0, None, None), 0.0, "moved by nan"),
        (Quality(1, 1, 0.1, 0, 0.85, 0.87), 0.0, "nDCG@10 fell by 0.0200"),
        (GOOD, 0.06, "moved by 0.060 with its neighbours"),
    ],
)
def test_each_loss_beyond_its_limit_is_told(quality: Quality, moved: float, fault: str) -> None:
    (told,) = Proof(quality, moved).faults(Limits())

    assert fault in told


def test_a_good_variant_has_no_faults() -> None:
    assert Proof(GOOD, 0.02).faults(Limits()) == []


def row(length: int) -> Row:
    return Row(np.zeros(length, np.int32), np.zeros(length, np.uint8))


def test_a_score_that_hears_its_neighbours_is_caught() -> None:
    rows = [row(length) for length in range(1, 30)]

    def honest(batch: object) -> Floats:
        assert isinstance(batch, list)
        return floats(*(len(found) for found in batch))

    def gossip(batch: object) -> Floats:
        assert isinstance(batch, list)
        return floats(*(len(found) + len(batch) / 10 for found in batch))

    assert neighbours(honest, rows) == 0
    assert neighbours(gossip, rows) == pytest.approx(2.3)


def test_runners_race_in_turns() -> None:
    turns: list[str] = []

    def runner(name: str) -> object:
        def score(rows: object) -> Floats:
            turns.append(name)
            return floats()

        return score

    seconds = race({name: runner(name) for name in "ab"}, [row(3)])  # type: ignore[misc]  # fakes

    assert turns == list("ab" * 4)
    assert set(seconds) == {"a", "b"}


def test_the_texts_that_come_with_the_package_are_labelled() -> None:
    requests = texts.own()

    assert len(requests) >= 8
    assert all(len(request.docs) == 20 and len(request.relevant) == 1 for request in requests)


def test_labelled_requests_are_read(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"query": "q", "docs": ["a", "b"], "relevant": [1]}\n\n')

    assert texts.read(path) == [Request("q", ("a", "b"), (1,))]


@pytest.mark.parametrize("form", ['{{"text": "{}"}}', "{}"])
def test_requests_are_made_up_from_plain_documents(tmp_path: Path, form: str) -> None:
    docs = [f"The jet of {year} was fast. It flew far." for year in range(1950, 1980)]
    path = tmp_path / "docs"
    path.write_text("\n".join(form.format(doc) for doc in docs))

    first, second = texts.read(path)

    assert first == Request("The jet of 1950 was fast.", tuple(docs[:20]), (0,))
    assert second.docs == tuple(docs[10:30])


def test_a_text_without_spaces_makes_a_query_too() -> None:
    (request,) = texts.made_up(["喷气式客机是什么" * 20 + "。完"] * 20)

    assert request.query == ("喷气式客机是什么" * 20)[:36]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("one\ntwo", "2 documents; at least 20 are needed"),
        ('{"query": "q", "docs": []}', ":1: query must be a text and docs a list"),
        ('{"query": "q", "docs": ["a"], "relevant": [1]}', ":1: relevant must hold indices"),
    ],
)
def test_texts_that_cannot_be_used_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "texts"
    path.write_text(content)

    with pytest.raises(TextsError, match=message):
        texts.read(path)
