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
from rerank_server.cli.table import cut, table
from rerank_server.core.routing import nearest
from rerank_server.core.snapshot import Snapshot, VersionView
from rerank_server.core.status import line
from rerank_server.errors import NotRunningError, RerankServerError, UsageError

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
    query: Annotated[str, typer.Argument(show_default=False)],
    docs: Annotated[list[str], typer.Argument(metavar="DOC...", show_default=False)],
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
    run = places.run_dir(run_dir)
    running = places.running_server(run)
    snapshot = places.read_snapshot(run, running.pid)
    if snapshot is None:
        raise NotRunningError(f"the server (PID: {running.pid}) does not serve yet")
    asked = _asked(snapshot, versions)
    answers = _ask_all(snapshot.url, asked, query, docs)
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
    known = {version.name: version for version in snapshot.versions}
    names = [name.strip() for name in versions.split(",") if name.strip()]
    for name in names:
        if name not in known:
            near = nearest(name, list(known))
            hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(known)}"
            raise UsageError(f"--versions: no version {name!r} here; {hint}")
    return [known[name] for name in dict.fromkeys(names)]


def _ask_all(
    url: str, asked: Sequence[VersionView], query: str, docs: Sequence[str]
) -> list[Answer]:
    """Ask one version after the other, so that none slows another down."""
    import httpx

    # No proxy of the environment may come between: the server is on this machine.
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False) as client:
        return [_ask(client, version, query, docs) for version in asked]


def _ask(client: httpx.Client, version: VersionView, query: str, docs: Sequence[str]) -> Answer:
    import httpx

    began = time.monotonic()
    try:
        response = client.post(
            version.endpoint,
            json={"query": query, "docs": docs},
            headers={"X-Rerank-Strict": "1"},
        )
        body = response.json()
    except httpx.HTTPError as error:
        raise RerankServerError(f"{client.base_url}: {error}") from error
    except ValueError:
        body = None
    latency_ms = (time.monotonic() - began) * 1000
    if response.status_code != 200:
        # Why a version is absent stands in its status line, with more words than in the answer.
        absent = line(version).partition(": ")[2] if version.state != "RUNNING" else None
        return Answer(version.name, error=absent or _reason(response.status_code, body))
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


def _reason(status: int, body: object) -> str:
    """Return what an error answer says: `{"error": {"message": ...}}`, or only the status."""
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return f"{message} (HTTP {status})" if isinstance(message, str) else f"HTTP {status}"


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
