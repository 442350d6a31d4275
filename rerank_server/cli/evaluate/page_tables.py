"""The tables of the page: versions, differences, agreement, identity."""

from __future__ import annotations

from collections.abc import Sequence

from rerank_server.cli.evaluate import charts, wording
from rerank_server.cli.evaluate.markup import Child, Html, element, join
from rerank_server.cli.evaluate.report import Arm, Difference, Report


def table(head: Sequence[Child], rows: Sequence[Sequence[Child]], class_: str) -> Html:
    """Return a table whose first column names the row."""
    cells = [element("th", cell, scope="col") for cell in head]
    lines = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell) for cell in row[1:]),
        )
        for row in rows
    ]
    made = element(
        "table",
        element("thead", element("tr", *cells)),
        element("tbody", *lines),
        class_=class_,
    )
    return element("div", made, class_="scroll")


def named(report: Report, version: str) -> Html:
    """Return a version's name beside its colour."""
    swatch = element("span", class_=f"swatch {charts.colour(report, version)}")
    return element("span", swatch, version, class_="version")


def figures(report: Report) -> Html:
    """Return the table on top: how good, how fast, how large."""
    has_failed = any(arm.failed for arm in report.arms)
    head = ["version", *report.measures, "p50", "p95", "docs/s", "memory"]
    rows = [
        [
            named(report, arm.version),
            *(_quality(arm, measure) for measure in report.measures),
            wording.milliseconds(arm.p50_ms),
            wording.milliseconds(arm.p95_ms),
            wording.rate(arm.docs_per_s),
            wording.memory(arm),
            *([_failed(arm)] if has_failed else []),
        ]
        for arm in report.arms
    ]
    return table([*head, "failed"] if has_failed else head, rows, "figures")


def _quality(arm: Arm, measure: str) -> Html:
    found = arm.quality.get(measure)
    if found is None:
        return Html(wording.MISSING)
    return join(
        [
            element("b", f"{found.mean:.3f}"),
            element("small", f"{found.low:.3f} to {found.high:.3f}"),
        ]
    )


def _failed(arm: Arm) -> Html:
    if not arm.failed:
        return Html("0")
    return element("strong", f"{arm.failed} of {arm.failed + arm.answered}", class_="bad")


def differences(report: Report) -> Html:
    """Return a table for each two versions, with a drawing of each interval."""
    limit = charts.reach(report.differences)
    made = []
    for a, b in report.pairs:
        found = [d for d in report.differences if (d.a, d.b) == (a, b)]
        if not found:
            continue
        rows: list[Sequence[Child]] = [_difference(report, d, limit) for d in found]
        rows.append(["", "", charts.interval_axis(limit), "", "", ""])
        head = [
            "measure",
            "difference",
            f"worse  |  {b} better",
            "p",
            "p, Holm",
            "won / same / lost",
        ]
        title = element("h3", named(report, b), " minus ", named(report, a))
        made.append(element("section", title, table(head, rows, "differences")))
    return join(made)


def _difference(report: Report, found: Difference, limit: float) -> list[Child]:
    winner = found.b if found.estimate.mean > 0 else found.a
    class_ = charts.colour(report, winner) if found.is_significant else "rest"
    at = found.estimate
    return [
        found.measure,
        join(
            [
                element("b", wording.signed(at.mean)),
                element("small", f"{wording.signed(at.low)} to {wording.signed(at.high)}"),
            ]
        ),
        charts.interval(found, limit, class_),
        wording.p(found.p),
        element("b", wording.p(found.p_adjusted))
        if found.is_significant
        else wording.p(found.p_adjusted),
        f"{found.better} / {found.same} / {found.worse}",
    ]


def agreements(report: Report) -> Html:
    """Return how alike each two versions rank."""
    head = [
        "versions",
        "same first document",
        "Kendall's τ",
        f"overlap of the first {report.subject.k}",
    ]
    rows = [
        [
            join([named(report, found.a), " and ", named(report, found.b)]),
            wording.share(found.top_1),
            wording.MISSING if found.tau is None else f"{found.tau:.3f}",
            wording.share(found.overlap),
        ]
        for found in report.agreements
    ]
    return table(head, rows, "agreements")


def identities(report: Report) -> Html:
    """Return which model each version was."""
    head = ["version", "engine", "precision", "device", "weights", "SHA-256 of the weights"]
    rows = [
        [
            join([named(report, arm.version), element("small", arm.identity.description)]),
            arm.identity.engine or wording.MISSING,
            arm.identity.dtype or wording.MISSING,
            join([arm.identity.device or wording.MISSING, _degraded(arm)]),
            f"{arm.identity.source}: {', '.join(arm.identity.model_files) or wording.MISSING}",
            element("code", (arm.model_digest or wording.MISSING)[:16], title=arm.model_digest),
        ]
        for arm in report.arms
    ]
    return table(head, rows, "identities")


def _degraded(arm: Arm) -> Html | None:
    said = arm.identity.degraded
    return element("small", f"degraded: {said}", class_="bad") if said else None
