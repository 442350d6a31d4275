"""Brings a repository from a hub of models into the models directory, as a version."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rerank_server.catalog import hugging_face, layout, modelscope, transfer
from rerank_server.catalog.progress import Progress, megabytes
from rerank_server.catalog.sources import Hub
from rerank_server.catalog.staging import empty, is_complete, publish, require_space, staged
from rerank_server.catalog.templates import family_of, template
from rerank_server.catalog.transfer import RemoteFile, Snapshot

ORIGIN = "origin.json"
"""File of a version that says which repository and revision it came from."""

_RUN_UNASKED = frozenset({"rerank.py", "requirements.txt"})


@dataclass(frozen=True, slots=True)
class Origin:
    """A repository, and where to ask for it."""

    repo: str
    hub: Hub = Hub.HUGGING_FACE
    revision: str | None = None
    """Branch, tag or commit; None is the hub's main branch."""
    endpoint: str | None = None
    """Address of the hub; None is what the user's environment says."""


def pull_from_hub(
    name: str,
    origin: Origin,
    models_dir: Path,
    progress: Progress,
    *,
    force: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Fetch a repository as version `name`; tells whether anything was fetched.

    A download that breaks off is kept out of sight, and the next call for the same files goes
    on with it.

    Raises:
        CatalogError: as `pull.pull`; also for a repository without weights or tokenizer.
    """
    with staged(models_dir, name, keep=True) as stage:
        if not force and is_complete(models_dir / name):
            return False
        snapshot = _snapshot(origin)
        download = _Download(name, snapshot, _places(snapshot), stage / "built")
        _keep_if_same(stage, snapshot)
        require_space(models_dir, download.missing_bytes())
        download.run(progress, pause)
        _complete(download.built, stage / ORIGIN)
        publish(download.built, models_dir / name, force=force)
        progress.note(
            f"{name}: {megabytes(download.total_bytes)} from {snapshot.repo} at {snapshot.revision}"
        )
        return True


@dataclass(frozen=True, slots=True)
class _Download:
    """The files of one version on their way."""

    name: str
    snapshot: Snapshot
    places: Mapping[str, str]
    built: Path

    @property
    def files(self) -> list[RemoteFile]:
        """What is fetched: the small files first, so that a bad config fails early."""
        chosen = [file for file in self.snapshot.files if file.path in self.places]
        return sorted(chosen, key=lambda file: file.size_bytes)

    @property
    def total_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def missing_bytes(self) -> int:
        there = sum(path.stat().st_size for path in self.built.rglob("*") if path.is_file())
        return max(0, self.total_bytes - there)

    def run(self, progress: Progress, pause: Callable[[float], None]) -> None:
        total, before = self.total_bytes, 0
        with transfer.client() as client:
            for file in self.files:

                def report(done: int, before: int = before) -> None:
                    progress.update(before + done, total, self.name)

                target = self.built / self.places[file.path]
                headers = self.snapshot.headers
                transfer.fetch(client, file, headers, target, report, pause=pause)
                before += file.size_bytes
                if self.places[file.path] == "model/config.json":
                    family_of(target)


def _places(snapshot: Snapshot) -> Mapping[str, str]:
    """Arrange the files; code that would run without being asked for is left where it is."""
    places = layout.arrange(file.path for file in snapshot.files)
    return {path: place for path, place in places.items() if place not in _RUN_UNASKED}


def _complete(built: Path, origin: Path) -> None:
    family = family_of(built / "model" / "config.json")
    (built / "rerank.py").write_text(template(family), encoding="utf-8")
    shutil.copyfile(origin, built / ORIGIN)


def _snapshot(origin: Origin) -> Snapshot:
    ask = modelscope.snapshot if origin.hub is Hub.MODELSCOPE else hugging_face.snapshot
    return ask(origin.repo, origin.revision, endpoint=origin.endpoint)


def _keep_if_same(stage: Path, snapshot: Snapshot) -> None:
    """Clear the stage unless what lies in it is the start of these very files."""
    files = {file.path: {"size": file.size_bytes, "sha256": file.sha256} for file in snapshot.files}
    content = json.dumps(
        {
            "hub": snapshot.hub,
            "repo": snapshot.repo,
            "revision": snapshot.revision,
            "files": files,
        },
        indent=2,
    )
    path = stage / ORIGIN
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        empty(stage)
        path.write_text(content, encoding="utf-8")
