from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_server.cli.evaluate.identity import Identity, digest
from rerank_server.cli.evaluate.report import Agreement, Failure
from tests.cli.evaluate.reports import asked, identity, question, report

GOOD, BAD = (0.9, 0.2, 0.1), (0.1, 0.2, 0.9)


def test_means_rest_on_questions_and_differences_on_pairs_of_answers() -> None:
    found = report(
        [asked(question(line, (1, 0, 0)), {"v1": BAD, "v2": GOOD}) for line in range(1, 9)],
        *("v1", "v2"),
    )

    assert (found.judged, found.measures) == (8, ("MRR", "nDCG@2", "recall@2"))
    v1, v2 = found.arms
    assert [arm.quality["MRR"].mean for arm in (v1, v2)] == pytest.approx([1 / 3, 1])
    mrr = found.differences[0]
    assert (mrr.measure, mrr.a, mrr.b) == ("MRR", "v1", "v2")
    assert mrr.estimate.mean == pytest.approx(2 / 3)
    assert (mrr.better, mrr.same, mrr.worse) == (8, 0, 0)
    assert [mrr.p, mrr.p_adjusted] == pytest.approx([2 / 256, 6 / 256])
    assert mrr.is_significant
    assert found.agreements == (Agreement("v1", "v2", 8, 0.0, -1.0, 0.5),)
    assert found.results[0].quality["v1"] == {
        "MRR": pytest.approx(1 / 3),
        "nDCG@2": 0,
        "recall@2": 0,
    }


def test_speed_is_that_of_the_requests_answered() -> None:
    found = report(
        [
            asked(question(line, None), {"v1": GOOD, "v2": "no" if line > 2 else GOOD})
            for line in (1, 2, 3)
        ],
        *("v1", "v2"),
    )

    v1, v2 = found.arms
    assert (v1.answered, v1.failed, v2.answered, v2.failed) == (3, 0, 2, 1)
    assert [v1.p50_ms, v1.p95_ms] == pytest.approx([20, 29])
    assert [v1.docs_per_s, v2.docs_per_s] == pytest.approx([9 / 0.060, 6 / 0.030])


def test_what_one_version_did_not_answer_counts_for_neither_and_is_named() -> None:
    found = report(
        [
            asked(question(1, (1, 0, 0)), {"v1": GOOD, "v2": GOOD}),
            asked(question(2, (1, 0, 0)), {"v1": BAD, "v2": "HTTP 500"}),
            asked(question(3, (1, 0, 0)), {"v1": BAD, "v2": None}),
        ],
        *("v1", "v2"),
        total=9,
        stopped="interrupted",
    )

    assert found.judged == 1
    assert found.arms[0].quality["MRR"].mean == 1
    assert found.failures == (Failure(2, "v2", "HTTP 500"),)
    assert found.notes[:2] == (
        "stopped after 3 of 9 questions: interrupted",
        "every version answered 1 of 3 questions; quality and agreement rest on these",
    )
    assert found.is_interrupted


def test_a_version_that_never_answered_does_not_spoil_the_others() -> None:
    found = report(
        [asked(question(line, (1, 0, 0)), {"v1": GOOD, "v2": "no", "v3": BAD}) for line in (1, 2)],
        *("v1", "v2", "v3"),
    )

    assert found.judged == 2
    assert found.pairs == [("v1", "v3")]
    assert found.arms[1].quality == {}
    assert found.arms[1].p50_ms is None


def test_nothing_measured_is_a_report_too() -> None:
    found = report([], "v1", "v2", total=4, stopped="interrupted")

    assert (found.measures, found.pairs, found.judged) == ((), [], 0)
    assert found.notes == ("stopped after 0 of 4 questions: interrupted",)


def test_without_labels_there_is_agreement_only_and_it_is_said() -> None:
    found = report([asked(question(1, None), {"v1": GOOD, "v2": BAD})], "v1", "v2")

    assert (found.measures, found.differences, found.main_measure) == ((), (), None)
    assert found.agreements[0].tau == -1
    assert found.notes == (
        "no question has labels: agreement can be told, but not which version is right",
    )


def test_what_bears_on_the_figures_is_noted() -> None:
    labels = [(1, 0), (0, 0), None]
    found = report(
        [
            asked(question(line, grades), {"v1": scores, "v2": scores})
            for line, grades in enumerate(labels, start=1)
            for scores in [(0.2, 0.1) if grades else GOOD]
        ],
        *("v1", "v2"),
        left_out={"v3": "FAILED (no model files)"},
        after={"v1": identity("v1", pid=8), "v2": identity("v2", degraded="on the CPU")},
    )

    assert found.notes == (
        "v3 was left out: FAILED (no model files)",
        "v1 had a process replaced during the run",
        "v2 is degraded: on the CPU",
        "without labels, and counted for agreement and speed only: 1",
        "without a relevant document, so that no ranking can be judged: 1",
        "few labelled questions (1): only large differences can show",
        "no question has more than 2 documents: recall@2 is always 1",
    )


def test_a_single_document_has_no_tau() -> None:
    found = report([asked(question(1, (1,)), {"v1": (0.5,), "v2": (0.4,)})], "v1", "v2")

    assert found.agreements == (Agreement("v1", "v2", 1, 1.0, None, 1.0),)


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (identity("v1"), None),
        (identity("v1", pid=8), "had a process replaced during the run"),
        (replace(identity("v1"), memory_bytes=1), None),
        (
            replace(identity("v1"), device="cuda:0"),
            "changed its files, engine or device during the run: these are figures of both",
        ),
        (replace(identity("v1"), processes=()), "no longer ran at the end"),
        (None, "no longer ran at the end"),
    ],
)
def test_a_version_that_changed_meanwhile_is_known(
    now: Identity | None, change: str | None
) -> None:
    assert identity("v1").change_to(now) == change


def test_a_server_that_went_is_described_as_it_last_was() -> None:
    gone = replace(identity("v1"), processes=(), memory_bytes=0, engine=None)

    found = report(
        [asked(question(1, None), {"v1": GOOD, "v2": GOOD})], "v1", "v2", after={"v1": gone}
    )

    assert found.arms[0].identity == identity("v1")
    assert found.notes[0] == "v1 no longer ran at the end"


def test_weights_are_known_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")

    assert digest(tmp_path, ["b", "a"]) == hashlib.sha256(b"onetwo").hexdigest()
    assert digest(tmp_path, ["a", "c"]) is None
    assert digest(tmp_path, []) is None
