"""What a reader must know to read a report's figures rightly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rerank_server.cli.evaluate.identity import Identity
from rerank_server.cli.evaluate.report import Subject
from rerank_server.cli.evaluate.run import Asked, Run

_FEW = 25


def notes(
    subject: Subject,
    run: Run,
    *,
    judged: Sequence[Asked],
    common: int,
    before: Mapping[str, Identity],
    after: Mapping[str, Identity],
) -> Iterator[str]:
    """Yield one sentence for each thing that bears on the figures.

    `judged` are the questions the measures rest on, `common` counts those that agreement rests on.
    """
    if run.stopped is not None:
        yield f"stopped after {len(run.asked)} of {run.total} questions: {run.stopped}"
    yield from run.waits
    for name, reason in subject.left_out.items():
        yield f"{name} was left out: {reason}"
    for name in run.versions:
        now = after.get(name)
        change = before[name].change_to(now)
        if change is not None:
            yield f"{name} {change}"
        if now is not None and now.degraded is not None:
            yield f"{name} is degraded: {now.degraded}"
    yield from _labels(run)
    if common < len(run.asked):
        yield (
            f"every version answered {common} of {len(run.asked)} questions; "
            "quality and agreement rest on these"
        )
    if 0 < len(judged) < _FEW:
        yield f"few labelled questions ({len(judged)}): only large differences can show"
    if judged and all(len(one.question.docs) <= subject.k for one in judged):
        yield f"no question has more than {subject.k} documents: recall@{subject.k} is always 1"


def _labels(run: Run) -> Iterator[str]:
    questions = [asked.question for asked in run.asked]
    unlabelled = sum(question.grades is None for question in questions)
    idle = sum(q.grades is not None and not q.has_relevant for q in questions)
    if questions and unlabelled == len(questions):
        yield "no question has labels: agreement can be told, but not which version is right"
    elif unlabelled:
        yield f"without labels, and counted for agreement and speed only: {unlabelled}"
    if idle:
        yield f"without a relevant document, so that no ranking can be judged: {idle}"
