"""What the CLI asks of a running server and what came of it: files, with SIGHUP as the bell."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from rerank_server.errors import NoAnswerError, NotRunningError, RunDirError
from rerank_server.supervisor.lock import Running
from rerank_server.supervisor.rundir import RunDir, clear_away, read_json, write_json

Verb = Literal["reload", "plan", "reset", "move", "restart", "traffic", "rollout"]
Verdict = Literal["applied", "planned", "refused", "superseded", "failed", "timed_out"]

SILENT: frozenset[Verb] = frozenset({"plan", "traffic", "rollout"})
"""Asked without the bell, since its sound makes the server take the config on; the server finds
the request by itself within a second."""
_POLL_S = 0.05
_KEPT_OUTCOMES = 64  # a client that stopped waiting never takes its outcome away


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked of the server."""

    id: str
    verb: Verb
    actor: str
    """Who asks, for the event log."""
    version: str | None = None
    device: str | None = None
    said: Mapping[str, object] = field(default_factory=dict)
    """What else the verb needs, such as the shares of the traffic."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request."""

    id: str
    verdict: Verdict
    generation: int
    started: tuple[str, ...] = ()
    """Versions that got (or would get) a new process."""
    replaced: tuple[str, ...] = ()
    """Those of `started` whose old process serves until the new one does."""
    stopped: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Version name to what went wrong or why it was done."""
    error: str | None = None


# --- the client's half ----------------------------------------------------------------------


def send(
    run: RunDir,
    running: Running,
    verb: Verb,
    *,
    version: str | None = None,
    device: str | None = None,
    said: Mapping[str, object] | None = None,
) -> Request:
    """Leave a request for the server and ring the bell, unless the verb is a silent one.

    Raises:
        NotRunningError: the server ended in between; the request is taken back.
    """
    pid = os.getpid()
    name, actor = f"{time.time_ns()}-{pid}", f"cli pid {pid}"
    request = Request(name, verb, actor, version, device, said or {})
    path = _file(run.requests, request.id)
    run.requests.mkdir(mode=0o700, exist_ok=True)
    # Root may ask a server of another user, who has to read this. Who else may come here at all
    # is said by the mode of the run dir.
    write_json(path, _request_json(request), mode=0o644)
    try:
        delivered = not running.wait(0) if verb in SILENT else running.signal(signal.SIGHUP)
    except RunDirError:
        path.unlink(missing_ok=True)
        raise
    if not delivered:
        path.unlink(missing_ok=True)
        raise NotRunningError
    return request


def wait_outcome(run: RunDir, running: Running, request: Request, timeout_s: float) -> Outcome:
    """Wait for the outcome of a request and take it away.

    Blocks. Times out by the monotonic clock.

    Raises:
        NoAnswerError: none came in time; the server still works on it.
        NotRunningError: the server ended first.
    """
    deadline = time.monotonic() + timeout_s
    path = _file(run.outcomes, request.id)
    while True:
        # Asked before the file is looked for: what it wrote as its last act is still found.
        ended = running.wait(0)
        found = read_json(path)
        if found is not None:
            path.unlink(missing_ok=True)
            return _outcome(path, found)
        if ended:
            raise NotRunningError(f"the server (PID: {running.pid}) ended before it answered")
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswerError
        running.wait(min(left, _POLL_S))


# --- the supervisor's half ------------------------------------------------------------------


def pending(run: RunDir, generation: int) -> tuple[Request, ...]:
    """Return the requests not answered yet, oldest first.

    A file that is no valid request is answered `refused` at `generation`, here and now, and
    not returned. The list must be made before config.yaml is read: then each outcome covers
    content at least as new as its request.
    """
    requests: list[Request] = []
    for path in sorted(run.requests.glob("[!.]*.json")):
        try:
            found = read_json(path)
            if found is not None:
                requests.append(_request(path, found))
        except RunDirError as error:
            answer(run, Outcome(path.stem, "refused", generation, error=error.message))
    return tuple(requests)


def answer(run: RunDir, outcome: Outcome) -> None:
    """Publish the outcome of a request, then take the request away.

    To be called after routes.json and state.json were written. Of outcomes that nobody took
    away, only the newest stay.
    """
    write_json(_file(run.outcomes, outcome.id), _outcome_json(outcome))
    _file(run.requests, outcome.id).unlink(missing_ok=True)
    for stale in sorted(run.outcomes.glob("[!.]*.json"))[:-_KEPT_OUTCOMES]:
        stale.unlink(missing_ok=True)


def clear(run: RunDir) -> None:
    """Remove the requests and outcomes an earlier server left; call before listening for HUP."""
    for directory in (run.requests, run.outcomes):
        for path in directory.iterdir():
            clear_away(path)


# --- the files ------------------------------------------------------------------------------


def _file(directory: Path, request_id: str) -> Path:
    return directory / f"{request_id}.json"


def _request_json(request: Request) -> Mapping[str, object]:
    return {
        "verb": request.verb,
        "version": request.version,
        "device": request.device,
        "said": dict(request.said),
        "actor": request.actor,
    }


def _outcome_json(outcome: Outcome) -> Mapping[str, object]:
    return {
        "id": outcome.id,
        "verdict": outcome.verdict,
        "generation": outcome.generation,
        "started": outcome.started,
        "replaced": outcome.replaced,
        "stopped": outcome.stopped,
        "kept": outcome.kept,
        "reasons": dict(outcome.reasons),
        "error": outcome.error,
    }


def _request(path: Path, value: Mapping[str, object]) -> Request:
    verb, version, device = value.get("verb"), value.get("version"), value.get("device")
    if verb not in get_args(Verb):
        raise RunDirError(f"{path}: verb: {verb!r} is none of {', '.join(get_args(Verb))}")
    for name, word in (("version", version), ("device", device)):
        if not (word is None or isinstance(word, str)):
            raise RunDirError(f"{path}: {name}: {word!r} is not a string")
    said = value.get("said", {})
    if not isinstance(said, dict):
        raise RunDirError(f"{path}: said: {said!r} is not an object")
    return Request(
        id=path.stem,
        verb=cast(Verb, verb),
        actor=str(value.get("actor", "unknown")),
        version=cast("str | None", version),
        device=cast("str | None", device),
        said=said,
    )


def _outcome(path: Path, value: Mapping[str, object]) -> Outcome:
    verdict, generation = value.get("verdict"), value.get("generation")
    reasons, error = value.get("reasons") or {}, value.get("error")
    if verdict not in get_args(Verdict) or not isinstance(generation, int):
        raise RunDirError(f"{path}: not an outcome of this release of rerank-server")
    if not isinstance(reasons, dict):
        raise RunDirError(f"{path}: reasons: not an object")
    return Outcome(
        id=path.stem,
        verdict=cast(Verdict, verdict),
        generation=generation,
        started=_names(value.get("started")),
        replaced=_names(value.get("replaced")),
        stopped=_names(value.get("stopped")),
        kept=_names(value.get("kept")),
        reasons={str(name): str(text) for name, text in reasons.items()},
        error=None if error is None else str(error),
    )


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(name) for name in value) if isinstance(value, list | tuple) else ()
