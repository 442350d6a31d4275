"""The verbs of a guarded rollout."""

from __future__ import annotations

import json
import math
import sys
from typing import Annotated

import typer

from rerank_server.cli import changes, places
from rerank_server.core import rollout_view
from rerank_server.core.rollout import State
from rerank_server.errors import RerankServerError, UsageError
from rerank_server.supervisor import requests
from rerank_server.supervisor.lock import Running
from rerank_server.supervisor.rundir import RunDir

_HINT = "hint: rerank-server rollout start --help"
Option = typer.Option
app = typer.Typer(
    help="Move traffic to a version step by step, guarded.",
    rich_markup_mode=None,
)


@app.command("start")
def start(
    *,
    to: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="Which one; else the config's.", show_default=False),
    ] = None,
    steps: Annotated[
        str | None, Option(metavar="P,P,...", help="Its shares in percent, step by step.")
    ] = None,
    interval_s: Annotated[
        float | None, Option("--interval", metavar="S", help="Least time of a step.")
    ] = None,
    error_ratio: Annotated[
        float | None, Option(metavar="R", help="Most of its requests that may fail, 0 to 1.")
    ] = None,
    p95_ratio: Annotated[
        float | None, Option(metavar="R", help="Its 95th percentile over the others', at most.")
    ] = None,
    min_requests: Annotated[
        int | None, Option(metavar="N", help="Requests before a step counts.")
    ] = None,
    mirror_tau: Annotated[
        float | None, Option(metavar="T", help="Least mean of Kendall's tau on mirrored requests.")
    ] = None,
    timeout: changes.WaitOption = 30.0,
    run_dir: places.RunDirOption = None,
) -> int:
    """Begin a rollout, or let a paused one go on.

    What is not given is as in the config's rollout section, where that is for the same version.
    The config itself is never changed. It goes back to 0% by itself when a guard breaks.
    """
    said: dict[str, object] = {
        "to": to,
        "steps": None if steps is None else _percents(steps),
        "interval_s": interval_s,
        "error_ratio": error_ratio,
        "p95_ratio": p95_ratio,
        "min_requests": min_requests,
        "mirror_tau": mirror_tau,
    }
    given = {key: value for key, value in said.items() if value is not None}
    for key, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            option = "--" + key.removesuffix("_s").replace("_", "-")
            raise UsageError(f"{option}: {value} is no number here\n{_HINT}")
    return _order(places.run_dir(run_dir), timeout, "start", given)


@app.command("status")
def status(
    *,
    as_json: Annotated[bool, Option("--json", help="All of it as one JSON object.")] = False,
    run_dir: places.RunDirOption = None,
) -> int:
    """Show how far it came, and what its guards say.

    Exit code 1 if the last one was aborted.
    """
    run = places.run_dir(run_dir)
    view = _view(run, places.running_server(run))
    if as_json:
        print(json.dumps({"schema": 1, "rollout": None if view is None else dict(view.json)}))
    else:
        _show(view)
    return 1 if view is not None and view.state is State.ABORTED else 0


@app.command("pause")
def pause(*, timeout: changes.WaitOption = 30.0, run_dir: places.RunDirOption = None) -> int:
    """Stay at this share; a guard that breaks still ends it."""
    return _order(places.run_dir(run_dir), timeout, "pause")


@app.command("resume")
def resume(*, timeout: changes.WaitOption = 30.0, run_dir: places.RunDirOption = None) -> int:
    """Go on where it was paused."""
    return _order(places.run_dir(run_dir), timeout, "resume")


@app.command("abort")
def abort(*, timeout: changes.WaitOption = 30.0, run_dir: places.RunDirOption = None) -> int:
    """Take all traffic back from the version, at once."""
    return _order(places.run_dir(run_dir), timeout, "abort")


@app.command("promote")
def promote(*, timeout: changes.WaitOption = 30.0, run_dir: places.RunDirOption = None) -> int:
    """Give the version all the traffic, at once; said again, be done."""
    return _order(places.run_dir(run_dir), timeout, "promote")


def _percents(text: str) -> list[float]:
    try:
        shares = [float(part.strip().removesuffix("%")) for part in text.split(",")]
        if not all(math.isfinite(share) for share in shares):
            raise ValueError(text)
    except ValueError:
        wrong = f"--steps: {text!r}: give percents, such as 1,5,25,50,100"
        raise UsageError(f"{wrong}\n{_HINT}") from None
    return shares


def _order(
    run: RunDir, timeout_s: float, action: str, more: dict[str, object] | None = None
) -> int:
    running = places.running_server(run)
    said = {"action": action, **(more or {})}
    request = requests.send(run, running, "rollout", said=said)
    outcome = changes.wait_outcome(run, running, request, timeout_s)
    if outcome.verdict != "applied":
        changes.show(outcome)
        return 1
    _show(_view(run, running))
    return 0


def _view(run: RunDir, running: Running) -> rollout_view.RolloutView | None:
    snapshot = places.read_snapshot(run, running.pid)
    if snapshot is None:
        raise RerankServerError(f"the server (PID: {running.pid}) has not published its state yet")
    return snapshot.rollout


def _show(view: rollout_view.RolloutView | None) -> None:
    if view is None:
        print("no rollout; begin one with: rerank-server rollout start VERSION", file=sys.stderr)
        return
    print("\n".join(rollout_view.lines(view)))
    print(rollout_view.advice(view), file=sys.stderr)
