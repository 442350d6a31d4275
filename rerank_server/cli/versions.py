"""The verbs that make, fetch and complete the directories of versions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rerank_server.cli import places
from rerank_server.errors import CatalogError, UsageError

if TYPE_CHECKING:
    from rerank_server.config import Config

NamesArgument = Annotated[list[str], typer.Argument(metavar="NAME", help="Which versions.")]


def init(
    *,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME|PATH", help="Of the version; or of the configuration."),
    ] = None,
    origin: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR|ZIP", help="Where its Hugging Face files are."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --from: over a model that is there.")
    ] = False,
    config: Annotated[
        bool, typer.Option("--config", help="Write a configuration to start from.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="With --config: one for the three demo versions.")
    ] = False,
    models_dir: places.ModelsDirOption = None,
) -> int:
    """Make a version, or a configuration.

    A version: from a folder or zip, from the files that lie in its directory already, or empty;
    with a rerank.py that fits the model, unless it has one. A configuration (etc/config.yaml
    unless PATH says otherwise): every key with its meaning and default.
    """
    if config:
        if origin is not None or force or models_dir is not None:
            raise UsageError("--config goes with a PATH and --demo only")
        return _write_config(name, is_demo=demo)
    if name is None:
        raise UsageError("missing argument NAME\nhint: rerank-server init --help")
    if demo:
        raise UsageError("--demo goes with --config")
    return _init_version(name, origin, models_dir, force=force)


def pull(
    *,
    names: NamesArgument,
    repo: Annotated[
        str | None,
        typer.Option("--repo", metavar="ORG/NAME", help="A repository the catalogue lacks."),
    ] = None,
    source: Annotated[
        Literal["hf", "modelscope"] | None,
        typer.Option("--source", help="The hub to ask: Hugging Face or ModelScope."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="R", help="A branch, tag or commit.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again what is there, rerank.py included.")
    ] = False,
    config: places.ConfigOption = None,
    models_dir: places.ModelsDirOption = None,
) -> int:
    """Fetch versions into the models directory.

    Those the catalogue knows, by name; any other with --repo. Each is complete afterwards or as
    it was before.
    """
    from rerank_server.catalog import progress
    from rerank_server.catalog import pull as catalog
    from rerank_server.catalog.sources import Hub

    options = catalog.PullOptions(
        repo=repo, hub=None if source is None else Hub(source), revision=revision
    )
    directory, known = _models(config, models_dir)
    _refuse_cascades(known, names)
    with progress.shown_on() as shown:
        result = catalog.pull(names, directory, shown, force=force, options=options)
    _say("pulled", result.pulled)
    _say("kept", result.kept)
    return 0


def install(
    *,
    names: NamesArgument,
    force: Annotated[bool, typer.Option("--force", help="Build anew what fits already.")] = False,
    config: places.ConfigOption = None,
    models_dir: places.ModelsDirOption = None,
) -> int:
    """Install what versions require.

    Each one's requirements.txt into an environment of its own. `start` does this for every enabled
    version that lacks it.
    """
    from rerank_server.catalog import progress
    from rerank_server.cli import installs

    directory, known = _models(config, models_dir)
    sources = dict.fromkeys(source for name in names for source in _sources(known, name))
    for source in sources:
        if not (directory / source).is_dir():
            raise CatalogError(
                f"{directory / source} is not there; run: rerank-server pull {source}"
            )
    done: dict[str, list[str]] = {"installed": [], "kept": []}
    failures = 0
    with progress.shown_on() as shown:
        for source in sources:
            try:
                is_built = installs.install(directory / source, shown, force=force)
                done["installed" if is_built else "kept"].append(source)
            except CatalogError as error:
                print(f"error: {error.message}", file=sys.stderr)
                failures += 1
    for word, sources_done in done.items():
        _say(word, sources_done)
    return 1 if failures else 0


def _init_version(name: str, origin: Path | None, models_dir: Path | None, *, force: bool) -> int:
    from rerank_server.catalog import progress
    from rerank_server.catalog.initialize import initialize

    directory, known = _models(None, models_dir)
    _refuse_cascades(known, [name])
    with progress.shown_on() as shown:
        made = initialize(name, directory, shown, origin=origin, force=force)
    print(made.directory)
    for note in made.notes:
        print(f"{name}: {note}", file=sys.stderr)
    if known is None or name not in known.versions:
        print(f"add to config.yaml:\n{made.config_lines}", end="")
    return 0


def _write_config(path: str | None, *, is_demo: bool) -> int:
    from rerank_server.catalog.starting_config import DEFAULT_PATH, write_config

    chosen = DEFAULT_PATH if path is None else Path(path)
    if chosen.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--config: {chosen} does not end in .yaml")
    print(write_config(chosen, is_demo=is_demo))
    wanted = "v1-bge-small v1-colbert v2-minilm" if is_demo else "v2-m3 v1"
    option = "" if path is None else f" --config {chosen}"
    print(
        f"next: rerank-server pull {wanted}{option}, then rerank-server start{option}",
        file=sys.stderr,
    )
    return 0


def _models(config: Path | None, models_dir: Path | None) -> tuple[Path, Config | None]:
    """Return the models directory this call means, and the configuration if one was read.

    Raises:
        ConfigError: the one named is not valid; or none is there and no directory was named.
    """
    if models_dir is not None:
        return models_dir.absolute(), None
    from rerank_server.supervisor.desired import read_config

    path = places.config_path(config)
    known, _ = read_config(path)
    return known.models_path(path.parent.resolve()), known


def _sources(config: Config | None, name: str) -> list[str]:
    """Return whose directories a version runs: its own, its `source`'s, or its stages'."""
    if config is None or name not in config.versions:
        return [name]
    stages = config.versions[name].cascade or ()
    return [config.source_of(stage.version) for stage in stages] or [config.source_of(name)]


def _refuse_cascades(config: Config | None, names: Sequence[str]) -> None:
    """Refuse to make a directory that would never be looked at.

    Raises:
        UsageError: one of these versions is a cascade.
    """
    for name in names:
        version = None if config is None else config.versions.get(name)
        if version is not None and version.cascade is not None:
            stages = ", ".join(stage.version for stage in version.cascade)
            raise UsageError(f"{name} is a cascade and has no files; name its stages: {stages}")


def _say(word: str, names: Sequence[str]) -> None:
    if names:
        print(f"{word}: {', '.join(names)}")
