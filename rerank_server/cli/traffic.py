"""The verb that shows and sets how requests that name no version are split."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from rerank_server.cli import changes, places
from rerank_server.cli.table import table
from rerank_server.core.traffic import Source, shares
from rerank_server.errors import RerankServerError, UsageError
from rerank_server.supervisor import requests
from rerank_server.supervisor.lock import Running
from rerank_server.supervisor.rundir import RunDir

_HINT = "hint: rerank-server traffic --help"
_SET_BY = {
    Source.CONFIG: "the config",
    Source.OPERATOR: "an operator; back to the config's: rerank-server traffic --reset",
    Source.ROLLOUT: "a rollout; see: rerank-server rollout status",
}


def traffic(
    *,
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VERSION=PERCENT",
            help="All shares there are to be; what they leave goes to the default version.",
            show_default=False,
        ),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Go back to the config's shares.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as a JSON object.")] = False,
    timeout: changes.WaitOption = 30.0,
    run_dir: places.RunDirOption = None,
) -> int:
    """Show or set the shares of the requests that name no version.

    Holds over restarts of the server, until --reset or until the config's own shares change. No
    process is started or stopped.
    """
    run = places.run_dir(run_dir)
    running = places.running_server(run)
    if wanted and reset:
        raise UsageError(f"give shares or --reset, not both\n{_HINT}")
    if wanted or reset:
        said = {"shares": None if reset else _shares(wanted or ())}
        request = requests.send(run, running, "traffic", said=said)
        outcome = changes.wait_outcome(run, running, request, timeout)
        if outcome.verdict != "applied":
            changes.show(outcome)
            return 1
    _show(run, running, as_json=as_json)
    return 0


def _shares(words: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for word in words:
        name, _, percent = word.partition("=")
        try:
            share = float(percent.removesuffix("%"))
            if not math.isfinite(share):
                raise ValueError(percent)
        except ValueError:
            wrong = f"{word!r}: give VERSION=PERCENT, such as v2-gemma=10"
            raise UsageError(f"{wrong}\n{_HINT}") from None
        if name in found:
            raise UsageError(f"{name} has two shares\n{_HINT}")
        found[name] = share
    return found


def _show(run: RunDir, running: Running, *, as_json: bool) -> None:
    from rerank_server.gateway.traffic_metrics import counted

    snapshot = places.read_snapshot(run, running.pid)
    if snapshot is None:
        raise RerankServerError(f"the server (PID: {running.pid}) has not published its state yet")
    found, sent = shares(snapshot.traffic, snapshot.default), counted(run.metrics)
    source = snapshot.traffic.source
    if as_json:
        requests_of = {
            name: dict(zip(("sent", "served"), c, strict=True)) for name, c in sent.items()
        }
        said = {"schema": 1, "source": source, "shares": found, "requests": requests_of}
        print(json.dumps(said, indent=2))
        return
    rows = [["version", "share", "requests", "served"]]
    for name, share in found.items():
        rows.append([name, f"{share:.4g}%", *(str(count) for count in sent.get(name, (0, 0)))])
    print("\n".join(table(rows)))
    print(f"set by {_SET_BY[source]}", file=sys.stderr)
