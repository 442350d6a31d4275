"""A report as one page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from rerank_server.cli.evaluate import charts, page_tables, wording
from rerank_server.cli.evaluate.markup import Child, Html, element, join
from rerank_server.cli.evaluate.page_questions import Pair
from rerank_server.cli.evaluate.report import Report
from rerank_server.cli.evaluate.significance import CONFIDENCE, RESAMPLES

_HERE = Path(__file__).parent
_MOST_FAILURES = 50


def page(report: Report) -> str:
    """Return the page; texts of the file are shown, cut short, and never become markup."""
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    title = _title(report)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Html(style)),
    )
    body = element(
        "body", element("main", *_sections(report, title)), element("script", Html(script))
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _title(report: Report) -> str:
    versions = report.subject.versions
    if len(versions) == 2:
        return f"{versions[0]} against {versions[1]}"
    return f"{', '.join(versions[:-1])} and {versions[-1]}"


def _sections(report: Report, title: str) -> list[Html]:
    sections = [_head(report, title), element("section", page_tables.figures(report))]
    if report.differences:
        sections.append(_section("Differences", page_tables.differences(report), _DIFFERENCES))
    if report.agreements:
        sections.append(_section("Agreement", page_tables.agreements(report), _AGREEMENT))
        sections.append(_section("Question by question", _questions(report)))
    sections += [
        _section("Scores", _legend(report), _figure(charts.scores(report)), _SCORES),
        _section("Latency", _figure(charts.latencies(report)), _LATENCY),
        _section("Which models", page_tables.identities(report)),
        _failures(report),
        _section("How it was measured", _method(report)),
    ]
    return [section for section in sections if section]


def _head(report: Report, title: str) -> Html:
    subject = report.subject
    asked = len(report.results)
    questions = f"{asked} questions" if asked == subject.questions else (
        f"{asked} of {subject.questions} questions"
    )  # fmt: skip
    facts = [
        subject.file,
        questions,
        wording.documents(report),
        wording.labels(report),
        wording.when(subject.made_at),
        f"rerank-server {subject.release}",
    ]
    return element(
        "header",
        element("h1", title),
        element("p", " · ".join(facts), class_="facts"),
        *(element("p", verdict, class_="verdict") for verdict in wording.verdicts(report)),
        element("ul", *(element("li", note) for note in report.notes), class_="notes")
        if report.notes
        else None,
    )


def _section(title: str, *children: Child) -> Html:
    return element("section", element("h2", title), *children)


def _figure(picture: Html) -> Html:
    return element("figure", picture, class_="scroll")


def _legend(report: Report) -> Html | None:
    if not report.measures:
        return None
    return element(
        "p",
        *(
            element("span", class_=f"swatch {charts.colour(report, version)}")
            for version in report.subject.versions
        ),
        " relevant documents  ",
        element("span", class_="swatch rest"),
        " all others",
        class_="caption",
    )


def _questions(report: Report) -> Html:
    if len(report.pairs) == 1:
        return Pair(report, 0, *report.pairs[0]).section()
    options = [
        element("option", f"{a} and {b}", value=str(number))
        for number, (a, b) in enumerate(report.pairs)
    ]
    choice = element("label", "Versions ", element("select", *options, id="pair"))
    parts = [
        element(
            "div",
            element("h3", page_tables.named(report, a), " and ", page_tables.named(report, b)),
            Pair(report, number, a, b).section(),
            data_pair=str(number),
        )
        for number, (a, b) in enumerate(report.pairs)
    ]
    return join([choice, *parts])


def _failures(report: Report) -> Html:
    if not report.failures:
        return Html("")
    rows = [[f"line {one.line}", one.version, one.reason] for one in report.failures]
    left = len(rows) - _MOST_FAILURES
    return _section(
        f"Requests that failed: {len(rows)}",
        page_tables.table(["question", "version", "why"], rows[:_MOST_FAILURES], "failures"),
        element("p", f"and {left} more", class_="count") if left > 0 else None,
    )


def _method(report: Report) -> Html:
    k = report.subject.k
    return element(
        "ul",
        element("li", _ASKED),
        element("li", f"MRR and recall@{k} take every grade above 0 as relevant; nDCG@{k} takes "
                "grades as gains. Computed by ir-measures, as trec_eval does.")
        if report.measures
        else None,
        element("li", f"Intervals: {CONFIDENCE:.0%} percentile bootstrap over questions "
                f"({RESAMPLES:,} resamples), each by itself. p: paired randomisation test over "
                f"questions; Holm's correction is over all {len(report.differences)} tests of this "
                "page. Fixed seeds: the same answers give the same figures.")
        if report.measures
        else None,
        element("li", "SHA-256 of the file: ", element("code", report.subject.sha256)),
        element("li", f"Server configuration: generation {report.subject.generation}."),
    )  # fmt: skip


_ASKED = (
    "Every question went to every version, one request at a time, the versions taking turns, "
    "with who goes first changing from question to question, after one request to each that does "
    "not count. The documents were sent in a random order, the same to each version. Only a "
    "version's own answer counts, never that of a fallback."
)
_DIFFERENCES = element(
    "p",
    "Dots with their 95% intervals; a filled dot is a difference that chance does not explain "
    "(p below 0.05 after Holm's correction).",
    class_="caption",
)
_AGREEMENT = element(
    "p",
    "Means over questions, whoever is right. Kendall's τ is 1 for the same ranking, 0 for "
    "unrelated ones, -1 for the reverse.",
    class_="caption",
)
_SCORES = element(
    "p",
    "Shares of documents by score, each kind by itself. Scores of different versions are on "
    "different scales: compare shapes, not places.",
    class_="caption",
)
_LATENCY = element(
    "p",
    "Time of one request as its client sees it, on a logarithmic axis; the lines are the median "
    "and the 95th percentile.",
    class_="caption",
)
