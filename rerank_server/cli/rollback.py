"""`rollback`: puts an earlier accepted config back in place and has the server read it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import Annotated

import typer

from rerank_server.cli import changes, places
from rerank_server.core import snapshot
from rerank_server.errors import NoAnswerError, RunDirError
from rerank_server.supervisor.history import ConfigHistory
from rerank_server.supervisor.rundir import read_json, write_whole

_USUAL_MODE = 0o644


def rollback(
    *,
    generation: Annotated[
        int | None,
        typer.Argument(
            metavar="GENERATION",
            help="Which config; else the one before the present one, or the present one where "
            "the file as it is now was refused.",
        ),
    ] = None,
    timeout: changes.WaitOption = changes.DEFAULT_WAIT_S,
    run_dir: places.RunDirOption = None,
    state_dir: places.StateDirOption = None,
) -> int:
    """Return to an earlier configuration.

    Writes it over the config file, keeping what stood there as FILE.before-rollback, and
    reloads. The server keeps the last 100 configs it accepted.
    """
    run = places.run_dir(run_dir)
    places.running_server(run)
    state = read_json(run.state)
    if state is None:
        raise NoAnswerError("the server has not said yet what it runs; try again")
    now = snapshot.read(state)
    configs = places.state_dir_of(state_dir, run).configs
    history = ConfigHistory(configs, Path(now.config))
    chosen = generation
    if chosen is None:
        is_refused = now.config_error is not None
        chosen = now.generation if is_refused else history.before(now.generation)
    if chosen is None:
        raise RunDirError("there is no earlier config to return to")
    text = history.text(chosen)
    path = Path(now.config)
    try:
        _replace(path, text)
    except OSError as error:
        raise RunDirError(f"{path}: cannot be written: {error.strerror}") from error
    print(f"{path} is as it was in generation {chosen}")
    return changes.ask(run, "reload", timeout)


def _replace(path: Path, text: str) -> None:
    """Put the text in a config's place, what stands there beside it.

    A link stays one, and the server of another user can read the file as before.
    """
    target = path.resolve()
    try:
        was = target.stat()
    except FileNotFoundError:
        write_whole(target, text.encode(), _USUAL_MODE)
        return
    shutil.copy2(target, path.with_name(path.name + ".before-rollback"))
    write_whole(target, text.encode(), stat.S_IMODE(was.st_mode))
    with contextlib.suppress(PermissionError):  # only root gives files away
        os.chown(target, was.st_uid, was.st_gid)
