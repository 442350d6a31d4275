"""What the verbs that ask a running server over HTTP have in common."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rerank_server.cli import places
from rerank_server.core.snapshot import Snapshot, VersionView
from rerank_server.core.status import line
from rerank_server.errors import NotRunningError, UsageError
from rerank_server.names import nearest
from rerank_server.supervisor.rundir import RunDir

if TYPE_CHECKING:
    import httpx


KEY_VARIABLE = "RERANK_SERVER_API_KEY"
"""The key this client sends, where the server asks for one."""


def serving(run: RunDir) -> Snapshot:
    """Return what the server on this run dir published.

    Raises:
        NotRunningError: none runs, or it has published nothing yet.
    """
    running = places.running_server(run)
    snapshot = places.read_snapshot(run, running.pid)
    if snapshot is None:
        raise NotRunningError(f"the server (PID: {running.pid}) does not serve yet")
    return snapshot


def client(snapshot: Snapshot, timeout_s: float) -> httpx.Client:
    """Return a client of this server."""
    import httpx

    # No proxy of the environment may come between: the server is on this machine.
    key = os.environ.get(KEY_VARIABLE)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=snapshot.url, timeout=timeout_s, trust_env=False, headers=headers)


def find(snapshot: Snapshot, name: str) -> VersionView:
    """Return a version by its name.

    Raises:
        UsageError: the server has none of that name; the message has the nearest.
    """
    known = {version.name: version for version in snapshot.versions}
    if name in known:
        return known[name]
    near = nearest(name, list(known))
    hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(known)}"
    raise UsageError(f"no version {name!r} here; {hint}")


def failure(version: VersionView, status: int, body: object) -> str:
    """Return why a version did not answer.

    Why it is absent stands in its status line, with more words than in the answer; else the
    answer says it: `{"error": {"message": ...}}`.
    """
    if version.state != "RUNNING":
        return line(version).partition(": ")[2]
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return f"{message} (HTTP {status})" if isinstance(message, str) else f"HTTP {status}"
