"""A report as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rerank_server.cli.evaluate import wording
from rerank_server.cli.evaluate.report import Arm, Report
from rerank_server.cli.table import table

_MOST_FAILURES = 20


def render(report: Report) -> list[str]:
    """Return the lines: versions, differences, agreement, what to know, what failed."""
    subject = report.subject
    asked = f"{len(report.results)} of {subject.questions}" if report.stopped else str(
        subject.questions
    )  # fmt: skip
    facts = (f"{asked} questions", wording.documents(report), wording.labels(report))
    return [
        f"{subject.file}: {', '.join(facts)}",
        "",
        *table(_arms(report)),
        *_differences(report),
        *_agreements(report),
        *_section("", [*wording.verdicts(report)]),
        *_section("", [f"note: {note}" for note in report.notes]),
        *_failures(report),
    ]


def _arms(report: Report) -> list[list[str]]:
    arms = report.arms
    rows = [["", *(arm.version for arm in arms)]]
    rows += [[measure, *(_quality(arm, measure) for arm in arms)] for measure in report.measures]
    rows += [
        ["latency p50", *(wording.milliseconds(arm.p50_ms) for arm in arms)],
        ["latency p95", *(wording.milliseconds(arm.p95_ms) for arm in arms)],
        ["docs/s", *(wording.rate(arm.docs_per_s) for arm in arms)],
        ["memory", *(wording.memory(arm) for arm in arms)],
        ["engine", *(arm.identity.engine or wording.MISSING for arm in arms)],
        ["dtype", *(arm.identity.dtype or wording.MISSING for arm in arms)],
        ["model sha256", *((arm.model_digest or wording.MISSING)[:12] for arm in arms)],
    ]
    if any(arm.failed for arm in arms):
        rows.append(["failed", *(str(arm.failed) for arm in arms)])
    return rows


def _quality(arm: Arm, measure: str) -> str:
    found = arm.quality.get(measure)
    if found is None:
        return wording.MISSING
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _differences(report: Report) -> Iterator[str]:
    for a, b in report.pairs:
        rows = [
            [
                found.measure,
                wording.difference(found),
                wording.p(found.p),
                wording.p(found.p_adjusted),
                f"{found.better}/{found.same}/{found.worse}",
            ]
            for found in report.differences
            if (found.a, found.b) == (a, b)
        ]
        if rows:
            head = [f"{b} minus {a}", "with 95% interval", "p", "p (Holm)", "better/same/worse"]
            yield from _section("", table([head, *rows]))


def _agreements(report: Report) -> list[str]:
    if not report.agreements:
        return []
    rows = [["agreement", "same first", "Kendall's tau", f"overlap@{report.subject.k}"]]
    rows += [
        [
            f"{found.a}, {found.b}",
            wording.share(found.top_1),
            wording.MISSING if found.tau is None else f"{found.tau:.3f}",
            wording.share(found.overlap),
        ]
        for found in report.agreements
    ]
    return _section("", table(rows))


def _failures(report: Report) -> list[str]:
    failures = report.failures
    lines = [f"line {one.line}, {one.version}: {one.reason}" for one in failures[:_MOST_FAILURES]]
    if len(failures) > _MOST_FAILURES:
        lines.append(f"and {len(failures) - _MOST_FAILURES} more; --json has them all")
    return _section(f"requests that failed: {len(failures)}", lines)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return ["", *([title] if title else []), *lines]
