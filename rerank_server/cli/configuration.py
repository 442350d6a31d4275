"""The verb that shows what a configuration amounts to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from rerank_server.cli import places
from rerank_server.supervisor.lock import who_runs

if TYPE_CHECKING:
    from rerank_server.cli.effective import Said
    from rerank_server.yaml_text import Key


def config(
    *,
    file: places.ConfigOption = None,
    models_dir: places.ModelsDirOption = None,
    host: places.HostOption = None,
    port: places.PortOption = None,
    run_dir: places.RunDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Key, value and origin of each.")] = False,
) -> int:
    """Show every setting, and where it comes from.

    Of the running server's file and command line, else of the file that `start` would take. Values
    of environment variables are not shown.
    """
    from rerank_server.cli import effective
    from rerank_server.supervisor.desired import read_config
    from rerank_server.yaml_text import Document, dotted, read

    run = places.run_dir(run_dir)
    running = who_runs(run)
    snapshot = places.read_snapshot(run, running.pid) if running is not None else None
    path = places.config_path_of(file, snapshot)
    parsed, text = read_config(path)
    document = read(text)
    assert isinstance(document, Document)  # it was parsed a moment ago
    over: dict[Key, effective.Said] = {}
    if running is not None and snapshot is not None and str(path) == snapshot.config:
        over |= _said(places.started_with(running), f"command line of PID {running.pid}")
    absolute = None if models_dir is None else models_dir.absolute()
    over |= _said(places.StartedWith(None, absolute, host, port), "this command line")
    settings = effective.Effective(parsed, document, path.resolve(), over).settings()
    if as_json:
        found = [
            {"key": dotted(one.key), "value": one.value, "origin": one.origin}
            for one in settings
            if not one.is_section
        ]
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print(f"# {path}")
        print("\n".join(effective.as_yaml(settings)))
    return 0


def _said(given: places.StartedWith, by: str) -> dict[Key, Said]:
    from rerank_server.cli.effective import Said

    values: Mapping[Key, object] = {
        ("models_dir",): None if given.models_dir is None else str(given.models_dir),
        ("server", "host"): given.host,
        ("server", "port"): given.port,
    }
    return {key: Said(value, by) for key, value in values.items() if value is not None}
