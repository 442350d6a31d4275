"""The command line: parse, one call, print, exit code; nothing heavy is imported to show help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from rerank_server import __version__
from rerank_server.cli import (
    changes,
    check,
    compare,
    configuration,
    export,
    key,
    logs,
    move,
    optimize,
    probe,
    rollback,
    rollout,
    server,
    status,
    traffic,
    verify,
    versions,
)
from rerank_server.errors import UsageError

PROGRAM = "rerank-server"

app = typer.Typer(
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 config, 4 no server runs.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("start")(server.start)
app.command("status")(status.status)
app.command("stop")(server.stop)
app.command("restart")(server.restart)
app.command("reload")(changes.reload)
app.command("rollback")(rollback.rollback)
app.command("reset")(changes.reset)
app.command("move")(move.move)
app.command("traffic")(traffic.traffic)
app.add_typer(rollout.app, name="rollout")
app.command("compare")(compare.compare)
app.command("probe")(probe.probe)
app.command("logs")(logs.logs)
app.command("events")(logs.events)
app.command("init")(versions.init)
app.command("pull")(versions.pull)
app.command("install")(versions.install)
app.command("check")(check.check)
app.command("verify")(verify.verify)
app.command("optimize")(optimize.optimize)
app.command("export")(export.export)
app.command("key")(key.key)
app.command("config")(configuration.config)


def invoke(arguments: Sequence[str]) -> int:
    """Run one verb and return its exit code.

    Raises:
        UsageError: the arguments do not fit; the message has a hint.
        RerankServerError: what the verb ran into.
    """
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments) or ["--help"], PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        raise UsageError(_usage(error)) from error
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return code if isinstance(code, int) else 0


@app.command("version")
def version() -> int:
    """Print the version of rerank-server."""
    print(f"{PROGRAM} {__version__}")
    return 0


def _show_version(asked: bool) -> None:
    if asked:
        raise typer.Exit(version())


@app.callback()
def _options(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_show_version,
            help="Print the version of rerank-server.",
        ),
    ] = False,
) -> None:
    """Run many versions of reranker models side by side and switch between them."""


def _usage(error: typer.TyperException) -> str:
    message = error.format_message().rstrip(".").replace(": Value error, ", ": ")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    return f"{message[:1].lower()}{message[1:]}\nhint: {path} --help"
