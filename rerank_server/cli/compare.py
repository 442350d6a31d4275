"""The verb that asks every version the same, and shows their answers side by side."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from rerank_server.cli import places
from rerank_server.cli.client import client, failure, find, serving
from rerank_server.cli.table import cut, table
from rerank_server.core.snapshot import Snapshot, VersionView
from rerank_server.errors import RerankServerError

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 120.0  # above the default request_timeout_s: the server's own deadline decides
_SHORTEST_DOCUMENT = 24
_CELL_WIDTH = len("0.1234 #12")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one version made of the query and the documents."""

    version: str
    scores: tuple[float, ...] = ()
    """In input order; empty when it could not answer."""
    ranks: tuple[int, ...] = ()
    """The place of each document, in input order; the best is 1."""
    latency_ms: float | None = None
    """From here, the way there and back included."""
    inference_ms: float | None = None
    error: str | None = None


def compare(
    *,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is looked for.")],
    docs: Annotated[list[str], typer.Argument(metavar="DOC", help="What may answer it.")],
    versions: Annotated[
        str | None,
        typer.Option("--versions", metavar="A,B", help="Only these; default: each enabled one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The answers as JSON.")] = False,
    run_dir: places.RunDirOption = None,
) -> int:
    """Score documents by every version.

    Asks the running server for each version's own answer and prints one table.
    """
    snapshot = serving(places.run_dir(run_dir))
    asked = _asked(snapshot, versions)
    # One version after the other, so that none slows another down.
    with client(snapshot, _TIMEOUT_S) as http:
        answers = [_ask(http, version, query, docs) for version in asked]
    if as_json:
        print(json.dumps(_json(query, docs, answers), indent=2, ensure_ascii=False))
    else:
        print("\n".join(render(query, docs, answers, shutil.get_terminal_size().columns)))
    return 1 if any(answer.error is not None for answer in answers) else 0


def render(query: str, docs: Sequence[str], answers: Sequence[Answer], columns: int) -> list[str]:
    """Return the table: a row a document, score and rank a version, latencies and reasons below."""
    taken = sum(max(len(answer.version), _CELL_WIDTH) + 2 for answer in answers)
    room = max(_SHORTEST_DOCUMENT, columns - taken)
    rows = [["document", *(answer.version for answer in answers)]]
    for index, document in enumerate(docs):
        rows.append([cut(document, room), *(_cell(answer, index) for answer in answers)])
    rows.append(["latency", *(_milliseconds(answer.latency_ms) for answer in answers)])
    reasons = [f"{answer.version}: {answer.error}" for answer in answers if answer.error]
    return [f"query: {cut(query, max(room, columns - 7))}", "", *table(rows), *reasons]


def _cell(answer: Answer, index: int) -> str:
    if not answer.scores:
        return "-"
    return f"{answer.scores[index]:.4f} #{answer.ranks[index]}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _asked(snapshot: Snapshot, versions: str | None) -> list[VersionView]:
    if versions is None:
        return [version for version in snapshot.versions if version.enabled]
    names = [name.strip() for name in versions.split(",") if name.strip()]
    return [find(snapshot, name) for name in dict.fromkeys(names)]


def _ask(http: httpx.Client, version: VersionView, query: str, docs: Sequence[str]) -> Answer:
    import httpx

    began = time.monotonic()
    try:
        response = http.post(
            version.endpoint,
            json={"query": query, "docs": docs},
            headers={"X-Rerank-Strict": "1"},
        )
        body = response.json()
    except httpx.HTTPError as error:
        raise RerankServerError(f"{http.base_url}: {error}") from error
    except ValueError:
        body = None
    latency_ms = (time.monotonic() - began) * 1000
    if response.status_code != 200:
        return Answer(version.name, error=failure(version, response.status_code, body))
    try:
        return _answer(version.name, body, latency_ms)
    except (KeyError, TypeError, ValueError):
        return Answer(version.name, error="its answer is not one of rerank-server")


def _answer(version: str, body: object, latency_ms: float) -> Answer:
    """Read the answer of one version.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    if not isinstance(body, dict):
        raise TypeError("not an object")
    # The server ranks by raw scores: two that look the same as shown may still differ.
    order = [int(result["index"]) for result in body["results"]]
    return Answer(
        version,
        scores=tuple(float(score) for score in body["scores"]),
        ranks=tuple(order.index(index) + 1 for index in range(len(body["scores"]))),
        latency_ms=latency_ms,
        inference_ms=float(body["timing_ms"]["inference"]),
    )


def _json(query: str, docs: Sequence[str], answers: Sequence[Answer]) -> Mapping[str, object]:
    return {
        "query": query,
        "docs": list(docs),
        "versions": [
            {
                "version": answer.version,
                "scores": list(answer.scores),
                "ranks": list(answer.ranks),
                "latency_ms": answer.latency_ms,
                "inference_ms": answer.inference_ms,
                "error": answer.error,
            }
            for answer in answers
        ],
    }
