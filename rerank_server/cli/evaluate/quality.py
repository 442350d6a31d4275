"""Ranking quality of one version on labelled questions, by ir-measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from rerank_server.cli.evaluate.questions import Question
from rerank_server.errors import RerankServerError

_NEEDED = ("ir_measures", "scipy")


class MissingExtraError(RerankServerError):
    """The packages that compute the measures are not installed."""


def check_installed() -> None:
    """Find out before anything is asked whether the measures can be computed.

    Raises:
        MissingExtraError: the extra is not installed.
    """
    try:
        for name in _NEEDED:
            import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"labelled questions are judged with {error.name}, which is not installed here; "
            "install: pip install 'rerank-server[compare]'"
        ) from error


def names(k: int) -> tuple[str, str, str]:
    """Return what the measures are called."""
    return ("MRR", f"nDCG@{k}", f"recall@{k}")


def values(
    ranked: Sequence[tuple[Question, Sequence[int]]], k: int
) -> Mapping[str, tuple[float, ...]]:
    """Return each measure's value for each question, given the ranks of its documents.

    Every question has a relevant document. MRR and recall@k take every grade above 0 as relevant.
    nDCG@k takes grades as gains and divides by log2(rank + 1) (Järvelin and Kekäläinen, Cumulated
    gain-based evaluation of IR techniques, TOIS 20, 2002), as trec_eval does.
    """
    import ir_measures
    from ir_measures import RR, R, ScoredDoc, nDCG

    measures = dict(zip(names(k), (RR, nDCG @ k, R @ k), strict=True))
    grades = [
        ir_measures.Qrel(str(number), str(index), grade)
        for number, (question, _) in enumerate(ranked)
        for index, grade in enumerate(question.grades or ())
    ]
    # By rank, not by score: trec_eval orders equal scores by the documents' names.
    run = [
        ScoredDoc(str(number), str(index), -float(rank))
        for number, (_, ranks) in enumerate(ranked)
        for index, rank in enumerate(ranks)
    ]
    found = {
        (str(value.measure), int(value.query_id)): float(value.value)
        for value in ir_measures.iter_calc(list(measures.values()), grades, run)
    }
    return {
        name: tuple(found[str(measure), number] for number in range(len(ranked)))
        for name, measure in measures.items()
    }
