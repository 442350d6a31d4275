"""The verb that fetches versions."""

from __future__ import annotations

from typing import Annotated

import typer

from rerank_server.cli import places


def pull(
    *,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", show_default=False)],
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again what is there, rerank.py included.")
    ] = False,
    config: places.ConfigOption = None,
    models_dir: places.ModelsDirOption = None,
) -> int:
    """Fetch versions into the models directory.

    Those the catalogue knows, by name; each is complete afterwards or as it was before.
    """
    from rerank_server.catalog import progress
    from rerank_server.catalog import pull as catalog

    if models_dir is None:
        from rerank_server.supervisor.desired import read_config

        path = places.config_path(config)
        models_dir = read_config(path)[0].models_path(path.parent.resolve())
    with progress.shown_on() as shown:
        result = catalog.pull(names, models_dir.absolute(), shown, force=force)
    for word, done in (("pulled", result.pulled), ("kept", result.kept)):
        if done:
            print(f"{word}: {', '.join(done)}")
    return 0
