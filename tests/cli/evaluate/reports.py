"""Runs and reports made up for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rerank_server.cli.asking import Answer
from rerank_server.cli.evaluate.build import build
from rerank_server.cli.evaluate.identity import Identity, identities
from rerank_server.cli.evaluate.questions import Question
from rerank_server.cli.evaluate.report import Report, Subject
from rerank_server.cli.evaluate.run import Asked, Run
from tests.core.state_json import instance, version

MADE_AT = 1_800_000_000.0
Scored = Mapping[str, Sequence[float] | str | None]
"""By version: a score for each document, why there is none, or None: never asked."""


def question(line: int, grades: Sequence[int] | None, text: str = "document") -> Question:
    docs = tuple(f"{text} {index}" for index in range(len(grades or (0, 0, 0))))
    return Question(line, f"question {line}", docs, None if grades is None else tuple(grades))


def answer(name: str, scores: Sequence[float] | str, latency_ms: float = 10.0) -> Answer:
    if isinstance(scores, str):
        return Answer(name, error=scores)
    order = sorted(scores, reverse=True)
    return Answer(
        name,
        scores=tuple(scores),
        ranks=tuple(order.index(score) + 1 for score in scores),
        latency_ms=latency_ms,
        inference_ms=latency_ms - 1,
    )


def asked(of: Question, scored: Scored) -> Asked:
    answers = {
        name: answer(name, scores, 10.0 * of.line)
        for name, scores in scored.items()
        if scores is not None
    }
    return Asked(of, answers)


def identity(name: str, pid: int = 7, *, degraded: str | None = None) -> Identity:
    said = version(name, "RUNNING", instance(name, 1, pid), degraded=degraded)
    said["info"] = {"engine": "torch 2.13.0", "dtype": "bfloat16", "model_files": "model/a.bin"}
    return identities({"versions": [said]})[name]


def report(
    rows: Sequence[Asked],
    *names: str,
    total: int | None = None,
    stopped: str | None = None,
    left_out: Mapping[str, str] | None = None,
    after: Mapping[str, Identity] | None = None,
    k: int = 2,
) -> Report:
    before = {name: identity(name) for name in names}
    questions = len(rows) if total is None else total
    subject = Subject(
        file="questions.jsonl",
        sha256="ab" * 32,
        questions=questions,
        made_at=MADE_AT,
        release="0.1.0",
        generation=7,
        k=k,
        versions=names,
        left_out=left_out or {},
    )
    run = Run(names, questions, list(rows), stopped, stopped == "interrupted")
    digests = dict.fromkeys(names, "cd" * 32)
    return build(subject, run, before, {**before, **(after or {})}, digests)
