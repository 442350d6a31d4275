"""`rollback`: puts an earlier accepted config back in place and has the server read it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from rerank_server.cli import changes, places
from rerank_server.core import snapshot
from rerank_server.errors import NoAnswerError, RunDirError
from rerank_server.supervisor.history import ConfigHistory
from rerank_server.supervisor.rundir import read_json, write_whole


def rollback(
    *,
    generation: Annotated[
        int | None,
        typer.Argument(
            metavar="GENERATION", help="Which config; else the one before the present one."
        ),
    ] = None,
    timeout: changes.WaitOption = changes.DEFAULT_WAIT_S,
    run_dir: places.RunDirOption = None,
    state_dir: places.StateDirOption = None,
) -> int:
    """Return to an earlier configuration.

    Writes it over the config file, keeping what stood there as FILE.before-rollback, and
    reloads. The server keeps every config it accepted.
    """
    run = places.run_dir(run_dir)
    places.running_server(run)
    state = read_json(run.state)
    if state is None:
        raise NoAnswerError("the server has not said yet what it runs; try again")
    now = snapshot.read(state)
    history = ConfigHistory(places.state_dir(state_dir).configs)
    chosen = history.before(now.generation) if generation is None else generation
    if chosen is None:
        raise RunDirError("there is no earlier config to return to")
    text = history.text(chosen)
    path = Path(now.config)
    try:
        shutil.copy2(path, path.with_name(path.name + ".before-rollback"))
        write_whole(path, text.encode())
    except OSError as error:
        raise RunDirError(f"{path}: cannot be written: {error.strerror}") from error
    print(f"{path} is as it was in generation {chosen}")
    return changes.ask(run, "reload", timeout)
