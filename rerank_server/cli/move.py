"""The verb that moves a version to the CPU or to a GPU by hand."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rerank_server.cli import changes, places
from rerank_server.core import snapshot, status
from rerank_server.supervisor import requests
from rerank_server.supervisor.rundir import RunDir, read_json


class Place(StrEnum):
    """Where a version can be moved."""

    CPU = "cpu"
    GPU = "gpu"
    AUTO = "auto"


def move(
    *,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Which one.")],
    place: Annotated[Place, typer.Argument(metavar="cpu|gpu|auto", help="Where to.")],
    timeout: changes.WaitOption = changes.DEFAULT_WAIT_S,
    run_dir: places.RunDirOption = None,
) -> int:
    """Move a version to the CPU or a GPU, or back to the rules.

    It stays where it was moved, whatever the memory, until it is moved to auto or the server is
    restarted.
    """
    run = places.run_dir(run_dir)
    running = places.running_server(run)
    request = requests.send(run, running, "move", version=version, device=place.value)
    outcome = changes.wait_outcome(run, running, request, timeout)
    if outcome.verdict != "applied":
        changes.show(outcome)
        return 1
    print(_line(run, version))
    return 0


def _line(run: RunDir, name: str) -> str:
    """Return the version's line of `status`, as it is now."""
    shown = snapshot.read(read_json(run.state) or {})
    return next(status.line(version) for version in shown.versions if version.name == name)
