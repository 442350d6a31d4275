"""The verb that writes the description of the HTTP API for other tools."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rerank_server.cli import places
from rerank_server.errors import UsageError
from rerank_server.supervisor.lock import who_runs

if TYPE_CHECKING:
    from rerank_server.config import Config
    from rerank_server.gateway.openapi.document import Api, Version
    from rerank_server.supervisor.rundir import RunDir


class Format(StrEnum):
    """What can be written."""

    OPENAPI = "openapi"


def export(
    *,
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="V", help="Only this version's endpoint."),
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="What to write: OpenAPI 3.1.")
    ] = Format.OPENAPI,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to, not stdout.")
    ] = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="YAML, not JSON.")] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Address clients will use. [default: the config's]"),
    ] = None,
    config: places.ConfigOption = None,
    run_dir: places.RunDirOption = None,
) -> int:
    """Describe the HTTP API, for code generators and the like.

    From the configuration; no server need run. One that runs has the same at /openapi.json. Keys
    in RERANK_SERVER_API_KEYS count as they do for `start`.
    """
    from rerank_server.supervisor.desired import read_config
    from rerank_server.supervisor.keys import VARIABLE

    run = places.run_dir(run_dir)
    running = who_runs(run)
    snapshot = places.read_snapshot(run, running.pid) if running is not None else None
    settings, _ = read_config(places.config_path_of(config, snapshot))
    has_keys = settings.server.api_keys_file is not None or bool(os.environ.get(VARIABLE))
    if snapshot is not None and (config is None or _is_same(config, snapshot.config)):
        url = url or snapshot.url
        has_keys = has_keys or _asks_for_keys(run)
    api = _api(settings, url, has_keys=has_keys)
    document = _describe(settings, api, version)
    text = _yaml(document) if as_yaml else json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
    return 0


def _describe(settings: Config, api: Api, version: str | None) -> dict[str, object]:
    from rerank_server.gateway.openapi.document import of_server, of_version
    from rerank_server.names import nearest

    if version is None:
        return of_server(api)
    if version in settings.versions:
        return of_version(api, _versions(settings)[version])
    near = nearest(version, settings.versions)
    hint = f"did you mean {near}?" if near else f"there are: {', '.join(settings.versions)}"
    raise UsageError(f"no version {version} in the configuration; {hint}")


def _api(settings: Config, url: str | None, *, has_keys: bool) -> Api:
    from rerank_server.gateway.openapi.document import Api

    server = settings.server
    host = f"[{server.host}]" if ":" in server.host else server.host
    shown = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    known = _versions(settings)
    return Api(
        versions=[known[name] for name, each in settings.versions.items() if each.enabled],
        default=settings.default_version,
        url=url or f"http://{shown}:{server.port}",
        max_docs=server.max_docs,
        max_chars=server.max_doc_chars,
        has_keys=has_keys,
        protected=tuple(server.protect),
    )


def _is_same(config: Path, other: str) -> bool:
    return config.resolve() == Path(other).resolve()


def _asks_for_keys(run: RunDir) -> bool:
    """Tell whether the server that runs there has keys, wherever they come from."""
    from rerank_server.supervisor.rundir import read_json

    access = (read_json(run.routes) or {}).get("access")
    return isinstance(access, dict) and bool(access.get("keys"))


def _versions(settings: Config) -> dict[str, Version]:
    from rerank_server.core.traffic import Stage
    from rerank_server.gateway.openapi.document import Version

    return {
        name: Version(
            name,
            settings.endpoint_of(name),
            each.description,
            [Stage(stage.version, stage.keep) for stage in each.cascade or ()],
        )
        for name, each in settings.versions.items()
    }


def _yaml(document: object) -> str:
    import yaml

    class Plain(yaml.SafeDumper):
        """Repeats what the document holds twice: readers of OpenAPI know no anchors."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    return yaml.dump(document, Dumper=Plain, sort_keys=False, allow_unicode=True, width=100)
