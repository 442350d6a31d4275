"""Turns what was measured into a report: means, intervals, differences, agreement."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from rerank_server.cli.evaluate import agreement, quality
from rerank_server.cli.evaluate.identity import Identity
from rerank_server.cli.evaluate.notes import notes
from rerank_server.cli.evaluate.report import (
    Agreement,
    Arm,
    Difference,
    Failure,
    Report,
    Result,
    Subject,
)
from rerank_server.cli.evaluate.run import Asked, Run
from rerank_server.cli.evaluate.significance import Estimate, estimate, holm, p_value

Values = Mapping[str, Mapping[str, tuple[float, ...]]]
"""By version, by measure: one for each question that counts."""


def build(
    subject: Subject,
    run: Run,
    before: Mapping[str, Identity],
    after: Mapping[str, Identity],
    digests: Mapping[str, str | None],
) -> Report:
    """Compute everything that is said of a run, whether or not it came to its end."""
    answering = [name for name in run.versions if any(_has(asked, name) for asked in run.asked)]
    common = [asked for asked in run.asked if all(_has(asked, name) for name in answering)]
    judged = [asked for asked in common if asked.question.has_relevant] if answering else []
    values = _values(judged, answering, subject.k) if judged else {}
    measures = quality.names(subject.k) if judged else ()
    results = tuple(_results(run.asked, judged, values))
    return Report(
        subject=subject,
        arms=tuple(
            _arm(name, run, _last(before[name], after.get(name)), digests.get(name), values)
            for name in run.versions
        ),
        measures=measures,
        judged=len(judged),
        differences=tuple(_differences(values, measures)),
        agreements=tuple(
            found
            for pair in combinations(answering, 2)
            if (found := _agreement(common, pair, subject.k))
        ),
        failures=tuple(_failures(run)),
        results=results,
        stopped=run.stopped,
        is_interrupted=run.is_interrupted,
        notes=tuple(
            notes(subject, run, judged=judged, common=len(common), before=before, after=after)
        ),
    )


def _last(before: Identity, after: Identity | None) -> Identity:
    """Return what is known of a version last, while it ran."""
    return after if after is not None and after.processes else before


def _has(asked: Asked, version: str) -> bool:
    return version in asked.answers and asked.answers[version].error is None


def _values(judged: Sequence[Asked], versions: Sequence[str], k: int) -> Values:
    return {
        name: quality.values([(one.question, one.answers[name].ranks) for one in judged], k)
        for name in versions
    }


def _arm(name: str, run: Run, identity: Identity, digest: str | None, values: Values) -> Arm:
    answers = [asked.answers[name] for asked in run.asked if name in asked.answers]
    good = [answer for answer in answers if answer.latency_ms is not None and not answer.error]
    times = [answer.latency_ms for answer in good if answer.latency_ms is not None]
    docs = sum(len(answer.ranks) for answer in good)
    return Arm(
        identity=identity,
        model_digest=digest,
        answered=len(good),
        failed=len(answers) - len(good),
        p50_ms=percentile(times, 50),
        p95_ms=percentile(times, 95),
        docs_per_s=docs / (sum(times) / 1000) if times else None,
        quality={measure: estimate(found) for measure, found in values.get(name, {}).items()},
    )


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Return a percentile, between neighbours in proportion; None of nothing."""
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _differences(values: Values, measures: Sequence[str]) -> Iterator[Difference]:
    found: list[tuple[str, str, str, list[float], Estimate, float]] = []
    for a, b in combinations(values, 2):
        for measure in measures:
            gaps = [y - x for x, y in zip(values[a][measure], values[b][measure], strict=True)]
            found.append((measure, a, b, gaps, estimate(gaps), p_value(gaps)))
    adjusted = holm([p for *_, p in found])
    for (measure, a, b, gaps, mean, p), p_adjusted in zip(found, adjusted, strict=True):
        better, worse = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
        same = len(gaps) - better - worse
        yield Difference(measure, a, b, mean, p, p_adjusted, better, worse, same)


def _agreement(common: Sequence[Asked], pair: tuple[str, str], k: int) -> Agreement | None:
    a, b = pair
    ranks = [(one.answers[a].ranks, one.answers[b].ranks) for one in common]
    if not ranks:
        return None
    taus = [tau for x, y in ranks if (tau := agreement.kendall(x, y)) is not None]
    return Agreement(
        a,
        b,
        questions=len(ranks),
        top_1=statistics.fmean(agreement.same_top(x, y) for x, y in ranks),
        tau=statistics.fmean(taus) if taus else None,
        overlap=statistics.fmean(agreement.overlap(x, y, k) for x, y in ranks),
    )


def _failures(run: Run) -> Iterator[Failure]:
    for asked in run.asked:
        for version, answer in asked.answers.items():
            if answer.error is not None:
                yield Failure(asked.question.line, version, answer.error)


def _results(asked: Sequence[Asked], judged: Sequence[Asked], values: Values) -> Iterator[Result]:
    place = {one.question.line: number for number, one in enumerate(judged)}
    for one in asked:
        number = place.get(one.question.line)
        found = (
            {}
            if number is None
            else {
                version: {measure: each[number] for measure, each in by_measure.items()}
                for version, by_measure in values.items()
            }
        )
        yield Result(one.question, one.answers, found)
