"""The questions of the page: which were won and lost, or how far two versions agree on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rerank_server.cli.evaluate import agreement, charts, wording
from rerank_server.cli.evaluate.markup import Html, element, join
from rerank_server.cli.evaluate.page_documents import documents
from rerank_server.cli.evaluate.page_tables import named
from rerank_server.cli.evaluate.report import Report, Result
from rerank_server.cli.table import cut

_MOST_QUESTIONS = 20
"""Shown of those won, and as many of those lost."""
_QUERY_COLUMNS = 160
_TITLE_COLUMNS = 100
_LIMITS = (0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class _Gap:
    """One question, and by how much b is better than a, or how far they agree."""

    result: Result
    value: float

    @property
    def line(self) -> int:
        return self.result.question.line


@dataclass(frozen=True, slots=True)
class Pair:
    """What is shown of two versions."""

    report: Report
    number: int
    """The pair's place in the report: makes the names of its questions unlike any others."""
    a: str
    b: str

    def section(self) -> Html:
        """Return the plot, and the questions that tell most with their documents."""
        measure = self.report.main_measure
        return self._agreeing() if measure is None else self._judged(measure)

    def _judged(self, measure: str) -> Html:
        found = [
            _Gap(result, result.quality[self.b][measure] - result.quality[self.a][measure])
            for result in self.report.results
            if result.quality
        ]
        found.sort(key=lambda gap: (-gap.value, gap.line))
        won = [gap for gap in found if gap.value > 0]
        lost = [gap for gap in reversed(found) if gap.value < 0]
        shown = [won[:_MOST_QUESTIONS], lost[:_MOST_QUESTIONS]]
        largest = max(abs(gap.value) for gap in found)
        limit = next((step for step in _LIMITS if largest <= step), _LIMITS[-1])
        caption = element(
            "p",
            *(f"{measure} of ", named(self.report, self.b)),
            *(" minus that of ", named(self.report, self.a)),
            ": a bar for each question, in the colour of the better version. "
            "Choose a bar to see its documents.",
            class_="caption",
        )
        return join(
            [
                caption,
                self._bars(found, [*shown[0], *shown[1]], limit, f"{measure} by question"),
                self._list(f"{self.b} is better", shown[0], of=len(won)),
                self._list(f"{self.a} is better", shown[1], of=len(lost)),
            ]
        )

    def _agreeing(self) -> Html:
        found = [
            _Gap(result, tau)
            for result in self.report.results
            if (tau := self._tau(result)) is not None
        ]
        found.sort(key=lambda gap: (-gap.value, gap.line))
        least = found[: -_MOST_QUESTIONS - 1 : -1]
        caption = "Kendall's τ of the two rankings: a bar for each question."
        return join(
            [
                element("p", caption, class_="caption"),
                self._bars(found, least, 1.0, "Kendall's τ by question"),
                self._list("Least agreement", least, of=len(found)),
            ]
        )

    def _tau(self, result: Result) -> float | None:
        answers = [result.answers.get(version) for version in (self.a, self.b)]
        ranks = [answer.ranks for answer in answers if answer is not None and not answer.error]
        return agreement.kendall(*ranks) if len(ranks) == 2 else None

    def _bars(self, gaps: Sequence[_Gap], listed: Sequence[_Gap], limit: float, label: str) -> Html:
        links = {gap.line: f"#{self._id(gap)}" for gap in listed}
        bars = [
            charts.Bar(
                gap.value,
                self._colour(gap),
                links.get(gap.line),
                f"{wording.signed(gap.value)}  line {gap.line}: "
                + cut(gap.result.question.query, _TITLE_COLUMNS),
            )
            for gap in gaps
        ]
        return element("figure", charts.gaps(bars, limit, label), class_="scroll")

    def _colour(self, gap: _Gap) -> str:
        if not gap.result.quality or not gap.value:
            return "rest"
        return charts.colour(self.report, self.b if gap.value > 0 else self.a)

    def _list(self, title: str, shown: Sequence[_Gap], of: int) -> Html:
        count = f"{of}" if len(shown) == of else f"the first {len(shown)} of {of}"
        head = element("h4", title, " ", element("span", count, class_="count"))
        return join([head, *(self._question(gap) for gap in shown)])

    def _question(self, gap: _Gap) -> Html:
        question, quality = gap.result.question, gap.result.quality
        measure = self.report.main_measure
        change = f"τ {wording.signed(gap.value)}"
        if measure is not None:
            change = f"{quality[self.a][measure]:.2f} → {quality[self.b][measure]:.2f}"
        summary = element(
            "summary",
            element("span", f"line {question.line}", class_="line"),
            element("span", cut(question.query, _QUERY_COLUMNS), class_="query"),
            element("span", change, class_="change"),
        )
        moved = documents(self.report, (self.a, self.b), gap.result)
        return element("details", summary, moved, id=self._id(gap))

    def _id(self, gap: _Gap) -> str:
        return f"q{self.number}-{gap.line}"
