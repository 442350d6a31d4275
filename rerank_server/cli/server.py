"""The verbs that start and stop a whole server."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from rerank_server.cli import changes, places
from rerank_server.cli.options import StartOptions, replay
from rerank_server.core import status as view
from rerank_server.errors import NoAnswerError, RerankServerError
from rerank_server.supervisor.lock import Running, start_ticks, who_runs
from rerank_server.supervisor.rundir import RunDir

STOP_S = 120.0  # longer than the default stop_timeout_s, so that the server itself decides

WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait",
        metavar="S",
        min=0,
        help="Return after so long, loaded or not.",
        show_default=False,
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout", metavar="S", min=0, help="How long to wait for the server's end."),
]


def start(
    *,
    host: places.HostOption = None,
    port: places.PortOption = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Serve here, until told to stop.")
    ] = False,
    wait: WaitOption = None,
    config: places.ConfigOption = None,
    models_dir: places.ModelsDirOption = None,
    run_dir: places.RunDirOption = None,
    state_dir: places.StateDirOption = None,
    detached: Annotated[bool, typer.Option("--detached", hidden=True)] = False,
) -> int:
    """Start a server in the background.

    First installs what enabled versions require and lack. Returns once each version runs, failed,
    or waits to try again; exit code 0 if the default version serves.
    """
    options = StartOptions(
        config=places.config_path(config),
        run=places.run_dir(run_dir),
        state=places.state_dir(state_dir),
        models_dir=None if models_dir is None else models_dir.absolute(),
        host=host,
        port=port,
    )
    if foreground:
        return _serve(options, with_installs=not detached)
    return start_in_background(options, wait, options.command())


def stop(*, timeout: TimeoutOption = STOP_S, run_dir: places.RunDirOption = None) -> int:
    """Stop the server.

    In order: requests in flight are answered first. Returns when everything is gone.
    """
    run = places.run_dir(run_dir)
    stop_server(run, places.running_server(run), timeout)
    return 0


def restart(
    *,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="Only this version; the others serve on."),
    ] = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = STOP_S,
    run_dir: places.RunDirOption = None,
) -> int:
    """Restart one version, or the whole server.

    One version is replaced without a gap. The whole server is stopped, then started as it was.
    """
    run = places.run_dir(run_dir)
    if version is not None:
        wait_s = changes.DEFAULT_WAIT_S if wait is None else wait
        return changes.ask(run, "restart", wait_s, version)
    return restart_server(run, wait_s=wait, timeout_s=timeout)


def restart_server(
    run: RunDir,
    *,
    wait_s: float | None,
    timeout_s: float,
    command_of: Callable[[StartOptions], Sequence[str]] = StartOptions.command,
) -> int:
    """Stop a server and start it as it was started; return the exit code.

    `command_of` gives what runs it in the foreground.

    Raises:
        RerankServerError: nothing runs, or not in the background, or could not be stopped or
            started. A config no longer valid is refused while the server still serves.
    """
    running = places.running_server(run)
    options = replay(places.command_line(running))
    if options is None:
        raise RerankServerError(
            f"the server (PID: {running.pid}) runs in the foreground of something else; "
            "restart it there, or one version with: rerank-server restart VERSION"
            f"{places.options_of(run)}"
        )
    from rerank_server.supervisor.desired import read_config

    read_config(options.config)
    _install_missing(options)
    stop_server(run, running, timeout_s)
    return start_in_background(options, wait_s, command_of(options), with_installs=False)


def start_in_background(
    options: StartOptions,
    wait_s: float | None,
    command: Sequence[str],
    *,
    with_installs: bool = True,
) -> int:
    """Put a server in the background, show its versions loading, return the exit code.

    `command` is what runs it in the foreground. What versions require is installed before.

    Raises:
        RerankServerError: it was not started, or ended at once.
    """
    from rerank_server.cli.background import Launch, check
    from rerank_server.cli.display import display_on

    check(options)
    if with_installs:
        _install_missing(options)
    launch = Launch(options, command)
    again = places.options_of(options.run)
    print(f"starting (PID: {launch.pid})", file=sys.stderr)
    try:
        snapshot = launch.follow(display_on(sys.stderr), wait_s)
    except KeyboardInterrupt:
        print(
            f"\nthe server goes on (PID: {launch.pid}); see: rerank-server status{again}; "
            f"stop it with: rerank-server stop{again}",
            file=sys.stderr,
        )
        raise
    for warning in view.warnings(snapshot, time.time()):
        print(f"warning: {warning}", file=sys.stderr)
    if snapshot.default_serves:
        print(f"serving on {snapshot.url}, default {snapshot.default}")
        return 0
    for failure in view.failures(snapshot):
        print(f"error: {failure}", file=sys.stderr)
    print(
        f"the default version {snapshot.default_wanted} does not serve; the server goes on "
        f"(PID: {launch.pid}), stop it with: rerank-server stop{again}",
        file=sys.stderr,
    )
    return 1


def stop_server(run: RunDir, running: Running, timeout_s: float) -> None:
    """Stop a server and wait until it, its processes and its lock are gone.

    Raises:
        NoAnswerError: something is left after `timeout_s`.
    """
    began = time.monotonic()
    family = _children(run, running)
    running.signal(signal.SIGTERM)
    print(f"stopping (PID: {running.pid})", file=sys.stderr)
    try:
        for process in (running, *family):
            left = timeout_s - (time.monotonic() - began)
            if not process.wait(left):
                raise NoAnswerError(
                    f"process {process.pid} still runs after {timeout_s:g} s; it is told to stop"
                )
    except KeyboardInterrupt:
        print("the server goes on stopping", file=sys.stderr)
        raise
    who_runs(run)  # raises if a process we do not know of kept the lock
    print(f"stopped after {time.monotonic() - began:.1f} s")


def _children(run: RunDir, running: Running) -> list[Running]:
    """Return the workers and the gateway as last published."""
    snapshot = places.read_snapshot(run, running.pid)
    if snapshot is None:
        return []
    pids = [snapshot.gateway.pid, *(i.pid for v in snapshot.versions for i in v.instances)]
    started = [(pid, start_ticks(pid)) for pid in pids if pid is not None]
    return [Running(pid, ticks) for pid, ticks in started if ticks is not None]


def _install_missing(options: StartOptions) -> None:
    from rerank_server.supervisor.desired import read_config

    config, _ = read_config(options.config)
    models_dir = options.models_dir or config.models_path(options.config.parent.resolve())
    enabled = [n for n, each in config.versions.items() if each.enabled and each.cascade is None]
    directories = [models_dir / config.source_of(name) for name in enabled]
    required = [path for path in directories if (path / "requirements.txt").is_file()]
    if required:  # most servers need none of it: a process that serves stays without the catalogue
        from rerank_server.cli.installs import install_all

        install_all(required)


def _serve(options: StartOptions, *, with_installs: bool) -> int:
    from rerank_server import logs
    from rerank_server.cli.background import refuse_second
    from rerank_server.supervisor.desired import read_config
    from rerank_server.supervisor.main import ServeOptions, run

    config, _ = read_config(options.config)
    logs.configure(config.server.log_format, config.server.log_level)
    if with_installs:
        refuse_second(options.run)
        _install_missing(options)
    return run(
        ServeOptions(
            config_path=options.config,
            run_dir=options.run.path,
            state_dir=options.state.path,
            models_dir=options.models_dir,
            host=options.host,
            port=options.port,
        )
    )
