"""Figures and verdicts in words, the same on a terminal and on the page."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rerank_server.cli.evaluate.report import Arm, Difference, Report

_MIB, _GIB = 1 << 20, 1 << 30
MISSING = "-"


def verdicts(report: Report) -> Iterator[str]:
    """Yield a sentence for each two versions: which ranks better, or that none is shown to."""
    for found in report.differences:
        if found.measure == report.main_measure:
            yield _verdict(found, report.judged, tests=len(report.differences))


def _verdict(found: Difference, judged: int, tests: int) -> str:
    at = found.estimate
    low, high = at.low, at.high
    sure = f"p = {p(found.p_adjusted)} after Holm's correction for {tests} tests"
    if not found.is_significant:
        return (
            f"No difference shown between {found.a} and {found.b}: {found.measure} of {found.b} "
            f"differs by {signed(at.mean)} (95% interval {signed(low)} to {signed(high)}, {sure}; "
            f"labelled questions: {judged})"
        )
    better, worse = found.b, found.a
    if at.mean < 0:
        better, worse, low, high = worse, better, -high, -low
    return (
        f"{better} ranks better than {worse}: {found.measure} {abs(at.mean):.3f} higher "
        f"(95% interval {signed(low)} to {signed(high)}, {sure}; labelled questions: {judged})"
    )


def signed(value: float) -> str:
    """Return a difference; a hyphen is no minus sign."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def difference(found: Difference) -> str:
    """Return the signed mean with its interval."""
    at = found.estimate
    return f"{signed(at.mean)} [{signed(at.low)}, {signed(at.high)}]"


def p(value: float) -> str:
    """Return a p-value; smaller ones than can be told from chance are not told."""
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def milliseconds(value: float | None) -> str:
    """Return a duration."""
    if value is None:
        return MISSING
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def rate(value: float | None) -> str:
    """Return documents a second."""
    if value is None:
        return MISSING
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def memory(arm: Arm) -> str:
    """Return what the version's processes hold on the host, and on cards if on any."""
    host, cards = arm.identity.memory_bytes, arm.identity.gpu_memory_bytes
    return f"{size(host or 0)} + {size(cards)} GPU" if cards else size(host or 0)


def size(value: int) -> str:
    """Return an amount of memory."""
    if value >= _GIB:
        return f"{value / _GIB:.1f} GiB"
    return f"{value / _MIB:.0f} MiB" if value else MISSING


def share(value: float) -> str:
    """Return a share of one."""
    return f"{value:.0%}"


def when(made_at: float) -> str:
    """Return a moment in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(made_at))


def documents(report: Report) -> str:
    """Return how many documents a question has."""
    counts = sorted(len(result.question.docs) for result in report.results)
    if not counts:
        return "no documents"
    low, high = counts[0], counts[-1]
    return f"{low} documents each" if low == high else f"{low} to {high} documents each"


def labels(report: Report) -> str:
    """Return what is known of the documents' relevance."""
    grades = [result.question.grades for result in report.results]
    known = [found for found in grades if found is not None]
    if not known:
        return "no labels"
    highest = max(max(found) for found in known)
    kind = "graded labels" if highest > 1 else "labels"
    return kind if len(known) == len(grades) else f"{kind} on {len(known)}"
