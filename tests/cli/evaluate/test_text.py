from __future__ import annotations

import json

from rerank_server.cli.evaluate import wording
from rerank_server.cli.evaluate.as_json import as_json
from rerank_server.cli.evaluate.text import render
from tests.cli.evaluate.reports import asked, question, report

GOOD, BAD = (0.9, 0.2, 0.1), (0.1, 0.2, 0.9)


def test_a_report_on_a_terminal() -> None:
    made = report(
        [asked(question(line, (1, 0, 0)), {"v1": BAD, "v2": GOOD}) for line in range(1, 9)],
        *("v1", "v2"),
    )

    assert render(made) == [
        "questions.jsonl: 8 questions, 3 documents each, labels",
        "",
        "                                v1                    v2",
        "MRR           0.333 [0.333, 0.333]  1.000 [1.000, 1.000]",
        "nDCG@2        0.000 [0.000, 0.000]  1.000 [1.000, 1.000]",
        "recall@2      0.000 [0.000, 0.000]  1.000 [1.000, 1.000]",
        "latency p50                  45 ms                 45 ms",
        "latency p95                  76 ms                 76 ms",
        "docs/s                          67                    67",
        "memory                     584 MiB               584 MiB",
        "engine                torch 2.13.0          torch 2.13.0",
        "dtype                     bfloat16              bfloat16",
        "model sha256          cdcdcdcdcdcd          cdcdcdcdcdcd",
        "",
        "v2 minus v1        with 95% interval       p  p (Holm)  better/same/worse",
        "MRR          +0.667 [+0.667, +0.667]  0.0078    0.0234              8/0/0",
        "nDCG@2       +1.000 [+1.000, +1.000]  0.0078    0.0234              8/0/0",
        "recall@2     +1.000 [+1.000, +1.000]  0.0078    0.0234              8/0/0",
        "",
        "agreement  same first  Kendall's tau  overlap@2",
        "v1, v2             0%         -1.000        50%",
        "",
        "v2 ranks better than v1: nDCG@2 1.000 higher (95% interval +1.000 to +1.000, "
        "p = 0.0234 after Holm's correction for 3 tests; labelled questions: 8)",
        "",
        "note: few labelled questions (8): only large differences can show",
    ]


def test_a_worse_challenger_is_called_worse_and_a_draw_a_draw() -> None:
    worse = report(
        [asked(question(line, (1, 0, 0)), {"v1": GOOD, "v2": BAD}) for line in range(1, 9)],
        *("v1", "v2"),
    )
    minus = "\N{MINUS SIGN}"
    draw = report([asked(question(1, (1, 0, 0)), {"v1": GOOD, "v2": BAD})], "v1", "v2")

    assert next(wording.verdicts(worse)).startswith(
        "v1 ranks better than v2: nDCG@2 1.000 higher (95% interval +1.000 to +1.000, "
    )
    assert next(wording.verdicts(draw)) == (
        "No difference shown between v1 and v2: nDCG@2 of v2 differs by "
        f"{minus}1.000 (95% interval {minus}1.000 to {minus}1.000, "
        "p = 1.00 after Holm's correction for 3 tests; labelled questions: 1)"
    )


def test_what_failed_is_counted_and_named() -> None:
    rows = [asked(question(line, None), {"v1": GOOD, "v2": "HTTP 500"}) for line in range(1, 23)]

    lines = render(report(rows, "v1", "v2", total=30, stopped="interrupted"))

    assert lines[0] == "questions.jsonl: 22 of 30 questions, 3 documents each, no labels"
    assert [line.split() for line in lines if line.startswith("failed")] == [["failed", "0", "22"]]
    place = lines.index("requests that failed: 22")
    assert lines[place + 1] == "line 1, v2: HTTP 500"
    assert lines[-1] == "and 2 more; --json has them all"


def test_json_has_every_question_and_no_document() -> None:
    made = report(
        [
            asked(question(1, (3, 0, 1)), {"v1": GOOD, "v2": BAD}),
            asked(question(2, None, "secret"), {"v1": GOOD, "v2": "HTTP 500"}),
        ],
        *("v1", "v2"),
    )

    value = json.loads(json.dumps(as_json(made), allow_nan=False))

    assert "secret" not in json.dumps(value)
    assert value["versions"][0]["quality"]["MRR"]["mean"] == 1
    assert value["differences"][0]["p_holm"] == 1
    assert value["failures"] == [{"line": 2, "version": "v2", "reason": "HTTP 500"}]
    assert value["results"][0]["versions"]["v1"] == {
        "scores": [0.9, 0.2, 0.1],
        "ranks": [1, 2, 3],
        "latency_ms": 10.0,
        "inference_ms": 9.0,
        "degraded": None,
        "quality": value["results"][0]["versions"]["v1"]["quality"],
    }
    assert value["results"][1]["versions"]["v2"] == {"error": "HTTP 500"}


def test_labels_and_documents_are_told_as_they_are() -> None:
    rows = [
        asked(question(1, (3, 0)), {"v1": (0.2, 0.1), "v2": (0.2, 0.1)}),
        asked(question(2, None), {"v1": GOOD, "v2": GOOD}),
    ]

    assert wording.labels(report(rows, "v1", "v2")) == "graded labels on 1"
    assert wording.documents(report(rows, "v1", "v2")) == "2 to 3 documents each"
    assert wording.documents(report([], "v1", "v2")) == "no documents"


def test_figures_have_the_digits_that_count() -> None:
    assert [wording.milliseconds(value) for value in (None, 1.24, 123.4, 1234.5)] == [
        *("-", "1.2 ms", "123 ms", "1.23 s")
    ]
    assert [wording.rate(value) for value in (None, 1.24, 123.4)] == ["-", "1.2", "123"]
    assert [wording.size(value) for value in (0, 5 << 20, 3 << 30)] == ["-", "5 MiB", "3.0 GiB"]
    assert [wording.p(value) for value in (0.00021, 0.25)] == ["0.0002", "0.25"]
