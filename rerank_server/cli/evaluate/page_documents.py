"""The documents of one question that two versions rank differently."""

from __future__ import annotations

from rerank_server.cli.evaluate.markup import Html, element, join
from rerank_server.cli.evaluate.page_tables import named
from rerank_server.cli.evaluate.report import Report, Result
from rerank_server.cli.table import cut

_MOST_DOCUMENTS = 8
_DOCUMENT_COLUMNS = 320


def documents(report: Report, pair: tuple[str, str], result: Result) -> Html:
    """Return a table of those that tell most: relevant ones, then those that moved farthest."""
    a, b = (result.answers[version] for version in pair)
    question = result.question
    grades = question.grades or (0,) * len(question.docs)
    k = report.subject.k
    seen = [
        index
        for index in range(len(question.docs))
        if grades[index]
        or (min(a.ranks[index], b.ranks[index]) <= k and a.ranks[index] != b.ranks[index])
    ]
    seen.sort(key=lambda i: (-grades[i], -abs(a.ranks[i] - b.ranks[i]), b.ranks[i]))
    chosen = sorted(seen[:_MOST_DOCUMENTS], key=lambda i: b.ranks[i])
    graded = max(grades) > 1
    rows = [
        element(
            "tr",
            element(
                "td", _badge(grades[i], graded=graded), cut(question.docs[i], _DOCUMENT_COLUMNS)
            ),
            element("td", _place(a.ranks[i], a.scores[i])),
            element("td", _place(b.ranks[i], b.scores[i])),
            element("td", _move(a.ranks[i], b.ranks[i])),
        )
        for i in chosen
    ]
    left = len(question.docs) - len(chosen)
    head = element(
        "tr",
        element("th", "document", scope="col"),
        *(element("th", named(report, version), scope="col") for version in pair),
        element("th", "moved", scope="col"),
    )
    rest = element("p", f"{left} other documents", class_="count") if left else None
    return join(
        [
            element(
                "div",
                element(
                    "table", element("thead", head), element("tbody", *rows), class_="documents"
                ),
                class_="scroll",
            ),
            rest,
        ]
    )


def _badge(grade: int, *, graded: bool) -> Html | None:
    if not grade:
        return None
    return element("span", f"grade {grade}" if graded else "relevant", class_="badge")


def _place(rank: int, score: float) -> Html:
    return join([element("b", f"#{rank}"), element("small", f"{score:.3f}")])


def _move(before: int, after: int) -> Html:
    if before == after:
        return element("span", "=", class_="still")
    up = after < before
    return element(
        "span", f"{'▲' if up else '▼'} {abs(before - after)}", class_="up" if up else "down"
    )
