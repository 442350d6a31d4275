"""The verbs that ask a running server for a change, and wait for what came of it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rerank_server.cli import places
from rerank_server.errors import ConfigError, NoAnswerError, UsageError
from rerank_server.supervisor import requests
from rerank_server.supervisor.lock import Running
from rerank_server.supervisor.requests import Outcome, Request, Verb
from rerank_server.supervisor.rundir import RunDir

DEFAULT_WAIT_S = 600.0

WaitOption = Annotated[
    float,
    typer.Option("--timeout", metavar="S", min=0, help="How long to wait for the outcome."),
]


def reload(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be started and stopped.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once the server is told.")
    ] = False,
    timeout: WaitOption = DEFAULT_WAIT_S,
    run_dir: places.RunDirOption = None,
) -> int:
    """Read the configuration again.

    Starts, stops or replaces only what changed, and says what that was.
    """
    run = places.run_dir(run_dir)
    if dry_run and no_wait:
        raise UsageError("--dry-run waits for its answer; leave --no-wait out")
    if dry_run:
        return ask(run, "plan", timeout)
    if not no_wait:
        return ask(run, "reload", timeout)
    running = places.running_server(run)
    requests.send(run, running, "reload")
    again = places.options_of(run)
    print(f"told (PID: {running.pid}); see: rerank-server status{again}", file=sys.stderr)
    return 0


def reset(
    *,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Which one.")],
    timeout: WaitOption = DEFAULT_WAIT_S,
    run_dir: places.RunDirOption = None,
) -> int:
    """Try a version again that failed or waits.

    Its failures are forgotten, and it is started at once.
    """
    return ask(places.run_dir(run_dir), "reset", timeout, version)


def ask(run: RunDir, verb: Verb, timeout_s: float, version: str | None = None) -> int:
    """Ask the running server for a change, print what came of it, return the exit code.

    Raises:
        NotRunningError: no server runs, or it ended before it answered.
        NoAnswerError: it did not answer in time.
        ConfigError: a reload was refused.
    """
    running = places.running_server(run)
    request = requests.send(run, running, verb, version=version)
    try:
        outcome = wait_outcome(run, running, request, timeout_s)
    except KeyboardInterrupt:
        if verb != "plan":
            print(f"the server goes on with the {verb}", file=sys.stderr)
        raise
    if verb in ("reload", "plan") and outcome.verdict == "refused":
        raise ConfigError((outcome.error or "the server refused it").splitlines())
    show(outcome)
    would_work = outcome.verdict == "planned" and not outcome.reasons
    return 0 if outcome.verdict == "applied" or would_work else 1


def wait_outcome(run: RunDir, running: Running, request: Request, timeout_s: float) -> Outcome:
    """Wait for the outcome of a request; see `requests.wait_outcome`.

    Raises:
        NotRunningError: the server ended first.
        NoAnswerError: none came in time; the message names the command that shows this server.
    """
    try:
        return requests.wait_outcome(run, running, request, timeout_s)
    except NoAnswerError as error:
        raise NoAnswerError(
            f"the server did not answer in time; it goes on; "
            f"see: rerank-server status{places.options_of(run)}"
        ) from error


def lines(outcome: Outcome) -> list[str]:
    """Return what an outcome did, or would do, to the versions: a line a kind."""
    kinds = {
        "started": [name for name in outcome.started if name not in outcome.replaced],
        "replaced": outcome.replaced,
        "stopped": outcome.stopped,
        "kept": outcome.kept,
    }
    return [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]


def show(outcome: Outcome) -> None:
    """Print an outcome: what it did to stdout, what went wrong to stderr."""
    for line in lines(outcome):
        print(line)
    for name, reason in outcome.reasons.items():
        print(f"{name}: {reason}", file=sys.stderr)
    if outcome.verdict not in ("applied", "planned"):
        why = f": {outcome.error}" if outcome.error else ""
        print(f"error: {outcome.verdict.replace('_', ' ')}{why}", file=sys.stderr)
