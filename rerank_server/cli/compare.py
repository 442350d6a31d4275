"""The verb that asks versions the same, and shows their answers side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from rerank_server.cli import places
from rerank_server.cli.asking import Answer, ask
from rerank_server.cli.client import client, find, serving
from rerank_server.cli.table import cut, table
from rerank_server.core.snapshot import Snapshot, VersionView
from rerank_server.errors import UsageError

_TIMEOUT_S = 120.0  # above the default request_timeout_s: the server's own deadline decides
_K = 10
_SHORTEST_DOCUMENT = 24
_CELL_WIDTH = len("0.1234 #12")


_FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help='Many questions instead: JSON lines {"query", "docs", "relevant"}; relevant has the '
        'indices of relevant docs, or grades: {"0": 3}, or is left out. .gz is unpacked, - is '
        "standard input.",
    ),
]


def compare(
    *,
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="What is looked for.")
    ] = None,
    docs: Annotated[
        list[str] | None, typer.Argument(metavar="DOC", help="What may answer it.")
    ] = None,
    file: _FileOption = None,
    versions: Annotated[
        str | None,
        typer.Option("--versions", metavar="A,B", help="Only these; default: each enabled one."),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--k",
            metavar="K",
            min=1,
            help=f"With --file: nDCG, recall and overlap of the K first; default: {_K}.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The answers as JSON.")] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="PAGE", help="With --file: write a page with plots too."),
    ] = None,
    run_dir: places.RunDirOption = None,
) -> int:
    """Score documents by every version.

    Asks the running server for each version's own answer and prints one table. With --file, asks
    every question of the file, the versions taking turns, and tells how well each ranks (MRR,
    nDCG, recall; needs the extra `compare`), what of the differences is not chance, how far the
    versions agree, and how fast they are.
    """
    if file is not None:
        if query is not None:
            raise UsageError("compare takes QUERY and DOCs, or --file, not both")
        from rerank_server.cli.evaluate.verb import Wanted, evaluate

        return evaluate(Wanted(file, versions, k or _K, as_json, html, run_dir, _TIMEOUT_S))
    if query is None or not docs:
        raise UsageError(
            "compare needs QUERY and DOCs, or --file\nhint: rerank-server compare --help"
        )
    if k is not None or html is not None:
        raise UsageError(f"{'--html' if html else '--k'} goes with --file")
    return _compare_one(query, docs, versions, as_json=as_json, run_dir=run_dir)


def _compare_one(
    query: str,
    docs: Sequence[str],
    versions: str | None,
    *,
    as_json: bool,
    run_dir: Path | None,
) -> int:
    snapshot = serving(places.run_dir(run_dir))
    asked = _asked(snapshot, versions)
    # One version after the other, so that none slows another down.
    with client(snapshot, _TIMEOUT_S) as http:
        answers = [ask(http, version, query, docs) for version in asked]
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
