"""The plots of the page: intervals, questions won and lost, scores, latencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rerank_server.cli.evaluate import wording
from rerank_server.cli.evaluate.markup import Html, element
from rerank_server.cli.evaluate.plot import (
    Scale,
    bars,
    bottom_axis,
    decades,
    line,
    linear,
    logarithmic,
    picture,
    round_up,
    shares,
    text,
)
from rerank_server.cli.evaluate.report import Arm, Difference, Report

COLOURS = 6
"""How many the style sheet has; more versions begin again."""
_WIDTH = 888.0
_LEFT, _RIGHT = 8.0, 8.0
_ROW = 84.0
_BINS = 40
_WIDEST_BAR = 22.0


def colour(report: Report, version: str) -> str:
    """Return the class of a version's colour: the same one in every plot."""
    return f"c{report.subject.versions.index(version) % COLOURS}"


def reach(differences: Sequence[Difference]) -> float:
    """Return what the axis of these intervals goes to, on both sides of zero."""
    ends = [abs(end) for d in differences for end in (d.estimate.low, d.estimate.high)]
    return round_up(max(ends, default=1.0))


def interval(found: Difference, limit: float, class_: str) -> Html:
    """Return a small drawing of a difference on an axis around zero."""
    x = linear(-limit, limit, 8, 212)
    at = found.estimate
    dot = "dot" if found.is_significant else "dot hollow"
    return picture(
        220,
        26,
        f"{found.measure}: {wording.difference(found)}",
        line(110, 0, 110, 26, "zero"),
        line(x(at.low), 13, x(at.high), 13, f"whisker {class_}"),
        line(x(at.low), 9, x(at.low), 17, f"whisker {class_}"),
        line(x(at.high), 9, x(at.high), 17, f"whisker {class_}"),
        element("circle", cx=x(at.mean), cy=13.0, r=4.5, class_=f"{dot} {class_}"),
    )


def interval_axis(limit: float) -> Html:
    """Return the axis that stands under such drawings."""
    return picture(
        220,
        18,
        "axis",
        text(8, 13, f"\N{MINUS SIGN}{limit:g}", "start", "tick"),
        text(110, 13, "0", "middle", "tick"),
        text(212, 13, f"+{limit:g}", "end", "tick"),
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """One question."""

    value: float
    colour: str
    link: str | None
    title: str


def gaps(values: Sequence[Bar], limit: float, label: str) -> Html:
    """Return a bar for each question, in their order, around zero."""
    height, left = 190.0, 44.0
    lowest = -limit if any(bar.value < 0 for bar in values) else 0.0
    y = linear(lowest, limit, height - 8, 8)
    wide = min((_WIDTH - left - _RIGHT) / max(len(values), 1), _WIDEST_BAR)
    ticks = [tick for tick in (-limit, 0.0, limit) if tick >= lowest]
    return picture(
        _WIDTH,
        height,
        label,
        *(line(left, y(tick), _WIDTH - _RIGHT, y(tick), "grid") for tick in ticks),
        *(text(left - 8, y(tick) + 4, _signed(tick), "end", "tick") for tick in ticks),
        *(_bar(bar, left + number * wide, wide, y) for number, bar in enumerate(values)),
    )


def _bar(bar: Bar, x: float, wide: float, y: Scale) -> Html:
    top, bottom = sorted((y(bar.value), y(0)))
    mark = element(
        "rect",
        element("title", bar.title),
        x=x + wide * 0.05,
        y=top if bar.value else top - 1,
        width=wide * 0.9,
        height=max(2.0, bottom - top),
        class_=bar.colour,
    )
    return mark if bar.link is None else element("a", mark, href=bar.link)


def _signed(value: float) -> str:
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def scores(report: Report) -> Html:
    """Return each version's histogram of scores, of relevant documents and of others."""
    x = linear(0, 1, _LEFT, _WIDTH - _RIGHT)
    edges = [number / _BINS for number in range(_BINS + 1)]
    places = [x(edge) for edge in edges]
    marks: list[Html] = []
    for number, arm in enumerate(report.arms):
        top, base = number * _ROW + 22, number * _ROW + _ROW - 6
        relevant, others = _scores_of(report, arm.version)
        y = linear(0, max([*shares(relevant, edges), *shares(others, edges), 0.01]), base, top)
        marks.append(text(_LEFT, number * _ROW + 14, arm.version, "start", "name"))
        for values, kind, class_ in (
            (others, "other", "rest" if report.measures else colour(report, arm.version)),
            (relevant, "relevant", f"over {colour(report, arm.version)}"),
        ):
            found = shares(values, edges)
            titles = [
                f"{edges[i]:.3g} to {edges[i + 1]:.3g}: {share:.1%} of {kind} documents"
                for i, share in enumerate(found)
            ]
            marks += bars(found, places, y, class_, titles)
        marks.append(line(_LEFT, base, _WIDTH - _RIGHT, base, "axis"))
    bottom = len(report.arms) * _ROW
    ticks = [(value / 5, f"{value / 5:g}") for value in range(6)]
    axis = bottom_axis(ticks, linear(0, 1, _LEFT + 6, _WIDTH - _RIGHT - 6), bottom - 6, bottom - 2)
    return picture(_WIDTH, bottom + 22, "distribution of scores by version", *marks, *axis)


def _scores_of(report: Report, version: str) -> tuple[list[float], list[float]]:
    relevant: list[float] = []
    others: list[float] = []
    for result in report.results:
        answer = result.answers.get(version)
        grades = result.question.grades or (0,) * len(result.question.docs)
        # Documents without labels say nothing of the others beside labelled ones.
        if answer is None or (report.measures and result.question.grades is None):
            continue
        for score, grade in zip(answer.scores, grades, strict=False):
            (relevant if grade else others).append(score)
    return relevant, others


def latencies(report: Report) -> Html:
    """Return each version's histogram of latencies, with its median and 95th percentile."""
    every = [value for arm in report.arms for value in _latencies_of(report, arm)]
    if not every:
        return Html("")
    low, high = min(every) * 0.9, max(every) * 1.1
    x = logarithmic(low, high, _LEFT, _WIDTH - _RIGHT)
    bins = min(_BINS, max(8, len(report.results) // 2))
    ratio = (high / low) ** (1 / bins)
    edges = [low * ratio**number for number in range(bins + 1)]
    places = [x(edge) for edge in edges]
    bottom = len(report.arms) * _ROW
    ticks = [(value, _duration(value)) for value in decades(low, high)]
    marks = bottom_axis(ticks, x, 18, bottom - 6)
    for number, arm in enumerate(report.arms):
        top, base = number * _ROW + 26, number * _ROW + _ROW - 6
        found = shares(_latencies_of(report, arm), edges)
        y = linear(0, max([*found, 0.01]), base, top)
        titles = [
            f"{wording.milliseconds(edges[i])} to {wording.milliseconds(edges[i + 1])}: {share:.1%}"
            for i, share in enumerate(found)
        ]
        marks += bars(found, places, y, colour(report, arm.version), titles)
        marks.append(line(_LEFT, base, _WIDTH - _RIGHT, base, "axis"))
        marks += [
            line(x(value), top - 4, x(value), base, "quantile")
            for value in (arm.p50_ms, arm.p95_ms)
            if value is not None
        ]
        middle, late = wording.milliseconds(arm.p50_ms), wording.milliseconds(arm.p95_ms)
        marks.append(text(_LEFT, number * _ROW + 14, arm.version, "start", "name"))
        marks.append(
            text(_WIDTH - _RIGHT, number * _ROW + 14, f"p50 {middle}, p95 {late}", "end", "tick")
        )
    return picture(_WIDTH, bottom + 22, "distribution of latencies by version", *marks)


def _latencies_of(report: Report, arm: Arm) -> list[float]:
    answers = [result.answers.get(arm.version) for result in report.results]
    found = [answer.latency_ms for answer in answers if answer is not None and not answer.error]
    return [value for value in found if value]


def _duration(value: float) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"
