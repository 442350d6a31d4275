"""Where a verb finds its server and its files: options, environment, the usual places."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rerank_server.cli.options import flags
from rerank_server.core.snapshot import Snapshot, read
from rerank_server.errors import ConfigError, NotRunningError, RunDirError
from rerank_server.supervisor.lock import Running, who_runs
from rerank_server.supervisor.rundir import (
    RunDir,
    StateDir,
    check_owner,
    find_run_dir,
    find_state_dir,
    read_json,
)

CONFIG_VARIABLE = "RERANK_SERVER_CONFIG"
CONFIG_PLACES = (Path("/opt/bge-rerankers/config.yaml"), Path("etc/config.yaml"))

RunDirOption = Annotated[
    Path | None,
    typer.Option(
        "--run-dir",
        metavar="DIR",
        help="Where the server's lock, state and sockets are; one server each. "
        "[env: RERANK_SERVER_RUN_DIR]",
    ),
]
StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        help="Where logs and events are kept. [env: RERANK_SERVER_STATE_DIR]",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration. [env: RERANK_SERVER_CONFIG; else "
        "/opt/bge-rerankers/config.yaml, etc/config.yaml]",
    ),
]
HostOption = Annotated[
    str | None, typer.Option("--host", metavar="HOST", help="Over the config's.")
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="N", min=0, max=65_535, help="Over the config's; 0: any free one."
    ),
]
ModelsDirOption = Annotated[
    Path | None,
    typer.Option(
        "--models-dir", metavar="DIR", help="Where the version directories are, over the config's."
    ),
]


def run_dir(flag: Path | None) -> RunDir:
    """Return the run dir this call means.

    Raises:
        RunDirError: another user could have laid it out.
    """
    found = find_run_dir(flag, os.environ, os.geteuid())
    check_owner(found, os.geteuid())
    return found


def state_dir(flag: Path | None) -> StateDir:
    """Return the state dir this call means."""
    return find_state_dir(flag, os.environ, os.geteuid())


def state_dir_of(flag: Path | None, run: RunDir) -> StateDir:
    """Return the state dir this call means; unless named, that of the server that runs."""
    running = None if flag is not None else who_runs(run)
    if running is not None and (named := started_with(running).state_dir) is not None:
        return StateDir(named)
    return state_dir(flag)


def config_path(flag: Path | None) -> Path:
    """Return the absolute path of the configuration this call means.

    Raises:
        ConfigError: there is none; the message lists the places looked at.
    """
    return find_config(flag, os.environ, Path.cwd())


def config_path_of(flag: Path | None, snapshot: Snapshot | None) -> Path:
    """Return the configuration this call means; unless named, that of the server that runs.

    Raises:
        ConfigError: there is none.
    """
    if flag is None and snapshot is not None:
        return Path(snapshot.config)
    return config_path(flag)


def find_config(flag: Path | None, environ: Mapping[str, str], here: Path) -> Path:
    """Choose the configuration: the flag, the environment, then the first place that has one.

    Raises:
        ConfigError: the one named does not exist, or none does.
    """
    variable = environ.get(CONFIG_VARIABLE)
    if flag is not None:
        named, by = flag, "--config"
    elif variable:
        named, by = Path(variable), CONFIG_VARIABLE
    else:
        places = [here / place for place in CONFIG_PLACES]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            looked = ", ".join(str(place) for place in places)
            raise ConfigError(
                f"no configuration: looked at {looked}; name one with --config, "
                "or write one with: rerank-server init --config"
            )
        return found
    path = here / named
    if not path.is_file():
        raise ConfigError(f"{path}: no such file (named by {by})")
    return path


def options_of(run: RunDir) -> str:
    """Return what a follow-up command needs to mean the same server: "" or ` --run-dir DIR`."""
    usual = find_run_dir(None, os.environ, os.geteuid())
    return "" if usual == run else f" --run-dir {run.path}"


def running_server(run: RunDir) -> Running:
    """Return the server that runs.

    Raises:
        NotRunningError: there is none.
    """
    running = who_runs(run)
    if running is None:
        raise NotRunningError(
            f"no server runs on {run.path}; start one with: rerank-server start{options_of(run)}"
        )
    return running


@dataclass(frozen=True, slots=True)
class StartedWith:
    """What a running server's command line says, paths made absolute; None: not said."""

    state_dir: Path | None
    models_dir: Path | None
    host: str | None
    port: int | None


NOTHING_GIVEN = StartedWith(None, None, None, None)


def started_with(running: Running) -> StartedWith:
    """Return what a running server was started with."""
    process = Path(f"/proc/{running.pid}")
    given = flags(command_line(running))
    try:
        here = (process / "cwd").readlink()
    except OSError:
        here = Path("/")

    def path(flag: str) -> Path | None:
        return here / given[flag] if flag in given else None

    return StartedWith(
        state_dir=path("--state-dir"),
        models_dir=path("--models-dir"),
        host=given.get("--host"),
        port=int(given["--port"]) if given.get("--port", "").isdecimal() else None,
    )


def command_line(running: Running) -> list[str]:
    """Return the words a process was started with; none when it is gone."""
    try:
        words = Path(f"/proc/{running.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    return [word.decode(errors="surrogateescape") for word in words[:-1]]


def read_snapshot(run: RunDir, pid: int) -> Snapshot | None:
    """Return what the server with this pid published last, or None when it has not yet.

    Raises:
        RunDirError: the file is not what this release reads.
    """
    state = read_json(run.state)
    if state is None:
        return None
    try:
        snapshot = read(state)
    except ValueError as error:
        raise RunDirError(
            f"{run.state}: {error}; was the server started by another release? restart it"
        ) from error
    return snapshot if snapshot.pid == pid else None
