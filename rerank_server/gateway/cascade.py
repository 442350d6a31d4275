"""Scores a request by a cascade's stages, one after the other, and makes one answer of theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import orjson

from rerank_server.core.cascade import Round, due, kept, ranked
from rerank_server.core.traffic import Stage
from rerank_server.gateway.connection import Answer
from rerank_server.gateway.dialect import Scores
from rerank_server.gateway.replies import scores_of
from rerank_server.gateway.upstream import Errand, Refused

Ask = Callable[[str, Errand], Awaitable[Answer | Refused]]
"""Has one version score an errand, and nobody in its place."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """One stage's round, and all that it said."""

    round: Round
    scores: Scores


async def score(stages: Sequence[Stage], errand: Errand, ask: Ask) -> Answer | Refused:
    """Return an answer as a worker gives it, with the stages beside the scores.

    What a stage answers instead of scores is the answer of all. The first stage is sent the very
    payload of the errand; the others only what the one before them let through.

    Raises:
        RerankServerError: a stage's answer makes no sense.
        Whatever `ask` raises.
    """
    texts = orjson.loads(errand.payload)
    docs: list[str] = texts["docs"]
    places: Sequence[int] = range(len(docs))
    heard: list[_Heard] = []
    for stage in due(stages, len(docs)):
        if heard:
            texts["docs"] = [docs[place] for place in places]
            errand = replace(errand, payload=orjson.dumps(texts))
        answer = await ask(stage.version, errand)
        if isinstance(answer, Refused) or answer.status != 200:
            return answer
        scores = scores_of(answer, len(places))
        heard.append(_Heard(Round(stage.version, places, scores.raw, scores.unit), scores))
        if stage.keep is not None:
            places = [places[i] for i in kept(scores.raw, stage.keep)]
    return Answer(200, _merged(docs, heard), None)


def _merged(docs: Sequence[str], heard: Sequence[_Heard]) -> bytes:
    final = ranked([each.round for each in heard])
    tokens = [0] * len(docs)
    windows: list[Sequence[int]] = [(0, len(doc), 0, 1) for doc in docs]
    truncated: set[int] = set()
    for each in heard:
        places, scores = each.round.places, each.scores
        for place, count in zip(places, scores.tokens, strict=False):
            tokens[place] += count
        for i, place in enumerate(places):
            whole = (0, len(docs[place]), 0, 1)
            windows[place] = scores.windows[i] if scores.windows else whole
        truncated.update(places[i] for i in scores.truncated)
    said: dict[str, object] = {
        "raw": final.raw,
        "unit": final.unit,
        "tokens": tokens,
        "truncated": sorted(truncated),
        "stages": final.stages,
        "cascade": [each.round.version for each in heard],
        "passed": [
            (len(before.round.places), len(after.round.places))
            for before, after in pairwise([*heard, heard[-1]])
        ],
        "queue_ms": sum(each.scores.queue_ms for each in heard),
        "tokenize_ms": sum(each.scores.tokenize_ms for each in heard),
        "inference_ms": sum(each.scores.inference_ms for each in heard),
    }
    if any(each.scores.windows for each in heard):
        said["windows"] = windows
    return orjson.dumps(said)
