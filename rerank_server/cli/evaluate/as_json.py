"""A report as JSON: everything, question by question, for scripts."""

from __future__ import annotations

from collections.abc import Mapping

from rerank_server.cli.asking import Answer
from rerank_server.cli.evaluate import wording
from rerank_server.cli.evaluate.report import Arm, Difference, Report, Result
from rerank_server.cli.evaluate.significance import CONFIDENCE, Estimate

Json = Mapping[str, object]


def as_json(report: Report) -> Json:
    """Return the whole report without the documents' texts, which the file has."""
    subject = report.subject
    return {
        "file": subject.file,
        "sha256": subject.sha256,
        "made_at": wording.when(subject.made_at),
        "server_version": subject.release,
        "generation": subject.generation,
        "k": subject.k,
        "confidence": CONFIDENCE,
        "questions": subject.questions,
        "asked": len(report.results),
        "judged": report.judged,
        "stopped": report.stopped,
        "left_out": dict(subject.left_out),
        "versions": [_arm(arm) for arm in report.arms],
        "differences": [_difference(found) for found in report.differences],
        "agreements": [
            {
                "a": found.a,
                "b": found.b,
                "questions": found.questions,
                "top_1": found.top_1,
                "kendall_tau": found.tau,
                "overlap": found.overlap,
            }
            for found in report.agreements
        ],
        "notes": list(report.notes),
        "failures": [
            {"line": one.line, "version": one.version, "reason": one.reason}
            for one in report.failures
        ],
        "results": [_result(result) for result in report.results],
    }


def _arm(arm: Arm) -> Json:
    identity = arm.identity
    return {
        "version": identity.version,
        "engine": identity.engine,
        "dtype": identity.dtype,
        "device": identity.device,
        "model": identity.model,
        "model_files": list(identity.model_files),
        "model_sha256": arm.model_digest,
        "fingerprint": identity.fingerprint,
        "degraded": identity.degraded,
        "memory_bytes": identity.memory_bytes,
        "gpu_memory_bytes": identity.gpu_memory_bytes,
        "answered": arm.answered,
        "failed": arm.failed,
        "p50_ms": arm.p50_ms,
        "p95_ms": arm.p95_ms,
        "docs_per_s": arm.docs_per_s,
        "quality": {measure: _estimate(found) for measure, found in arm.quality.items()},
    }


def _difference(found: Difference) -> Json:
    return {
        "measure": found.measure,
        "a": found.a,
        "b": found.b,
        **_estimate(found.estimate),
        "p": found.p,
        "p_holm": found.p_adjusted,
        "significant": found.is_significant,
        "better": found.better,
        "same": found.same,
        "worse": found.worse,
    }


def _estimate(found: Estimate) -> Json:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _result(result: Result) -> Json:
    return {
        "line": result.question.line,
        "query": result.question.query,
        "versions": {
            version: _answer(answer, result.quality.get(version, {}))
            for version, answer in result.answers.items()
        },
    }


def _answer(answer: Answer, quality: Mapping[str, float]) -> Json:
    if answer.error is not None:
        return {"error": answer.error}
    return {
        "scores": list(answer.scores),
        "ranks": list(answer.ranks),
        "latency_ms": answer.latency_ms,
        "inference_ms": answer.inference_ms,
        "degraded": answer.degraded,
        "quality": dict(quality),
    }
