"""The verbs that ask a running server for a change, and wait for what came of it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rerank_server.cli import places
from rerank_server.errors import ConfigError
from rerank_server.supervisor import requests
from rerank_server.supervisor.requests import Outcome, Verb
from rerank_server.supervisor.rundir import RunDir

DEFAULT_WAIT_S = 600.0

WaitOption = Annotated[
    float,
    typer.Option("--timeout", metavar="S", min=0, help="How long to wait for the outcome."),
]


def reload(*, timeout: WaitOption = DEFAULT_WAIT_S, run_dir: places.RunDirOption = None) -> int:
    """Read the configuration again.

    Starts, stops or replaces only what changed, and says what that was.
    """
    return ask(places.run_dir(run_dir), "reload", timeout)


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
        outcome = requests.wait_outcome(run, running, request, timeout_s)
    except KeyboardInterrupt:
        print(f"the server goes on with the {verb}", file=sys.stderr)
        raise
    if verb == "reload" and outcome.verdict == "refused":
        raise ConfigError((outcome.error or "the server refused it").splitlines())
    show(outcome)
    return 0 if outcome.verdict == "applied" else 1


def show(outcome: Outcome) -> None:
    """Print an outcome: what it did to stdout, what went wrong to stderr."""
    for word, names in (
        ("started", outcome.started),
        ("stopped", outcome.stopped),
        ("kept", outcome.kept),
    ):
        if names:
            print(f"{word}: {', '.join(names)}")
    for name, reason in outcome.reasons.items():
        print(f"{name}: {reason}", file=sys.stderr)
    if outcome.verdict != "applied":
        why = f": {outcome.error}" if outcome.error else ""
        print(f"error: {outcome.verdict.replace('_', ' ')}{why}", file=sys.stderr)
