"""The verb that shows a server."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer

from rerank_server.cli import places
from rerank_server.core import status as view
from rerank_server.errors import RerankServerError


def status(
    *,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Memory, requests, p95, restarts and more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as one JSON object.")] = False,
    run_dir: places.RunDirOption = None,
) -> int:
    """Show the state of each version.

    Exit code 0 if the default version serves, 1 if not, 4 if no server runs.
    """
    run = places.run_dir(run_dir)
    running = places.running_server(run)
    snapshot = places.read_snapshot(run, running.pid)
    if snapshot is None:
        raise RerankServerError(f"the server (PID: {running.pid}) has not published its state yet")
    now = time.time()
    if as_json:
        print(json.dumps(view.to_json(snapshot), indent=2, ensure_ascii=False))
    else:
        print("\n".join(view.verbose(snapshot, now) if verbose else view.lines(snapshot)))
    for warning in view.warnings(snapshot, now):
        print(f"warning: {warning}", file=sys.stderr)
    return 0 if snapshot.default_serves else 1
