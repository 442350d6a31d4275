"""The version a verb works on by itself, without a server: its files, Python and settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_server.cli import places
from rerank_server.core.snapshot import Snapshot, VersionView
from rerank_server.errors import CatalogError, UsageError
from rerank_server.supervisor.lock import who_runs

if TYPE_CHECKING:
    from rerank_server.config import Config, InferenceConfig, VersionConfig

NVIDIA = Path("/proc/driver/nvidia/version")
"""There where the kernel drives a card."""
CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Known:
    """The configuration this call means, and the server that runs with it, if one does."""

    config: Config
    models_dir: Path
    snapshot: Snapshot | None

    def names(self, asked: str | None) -> list[str]:
        """Return the version asked for, or else all that are enabled.

        A cascade has nothing to run; its stages stand in for it.

        Raises:
            UsageError: there is no version of this name.
        """
        from rerank_server.names import nearest

        versions = self.config.versions
        if asked is None:
            return [n for n, each in versions.items() if each.enabled and each.cascade is None]
        if asked not in versions:
            near = nearest(asked, versions)
            hint = f"did you mean {near}?" if near else f"there are: {', '.join(versions)}"
            raise UsageError(f"no version {asked} in the configuration; {hint}")
        return [stage.version for stage in versions[asked].cascade or ()] or [asked]


@dataclass(frozen=True, slots=True)
class Subject:
    """One version, ready to be run by a program of its own environment."""

    name: str
    source: str
    directory: Path
    python: Path
    environment: Mapping[str, str]
    model: str
    """Which folder of weights it runs with."""
    device: str
    """"cpu" or "cuda:0"; the environment lets the program see one card only."""
    version: VersionConfig
    inference: InferenceConfig


def known(config: Path | None, models_dir: Path | None, run_dir: Path | None) -> Known:
    """Read the configuration this call means.

    Raises:
        ConfigError: there is none, or it is not valid.
    """
    from rerank_server.supervisor.desired import read_config

    run = places.run_dir(run_dir)
    running = who_runs(run)
    snapshot = places.read_snapshot(run, running.pid) if running is not None else None
    path = places.config_path_of(config, snapshot)
    given = places.started_with(running) if running is not None else places.NOTHING_GIVEN
    settings, _ = read_config(path)
    directory = models_dir.absolute() if models_dir is not None else given.models_dir
    return Known(settings, directory or settings.models_path(path.parent.resolve()), snapshot)


def subject(known: Known, name: str, *, model: str | None = None) -> Subject:
    """Find a version's files and how it is run; `model` over the folder the server would take.

    Raises:
        CatalogError: its files are not complete.
    """
    from rerank_server.supervisor.process import child_environment
    from rerank_server.supervisor.version_files import find_problem, interpreter

    version = known.config.versions[name]
    source = known.config.source_of(name)
    directory = known.models_dir / source
    seen = _running(known, name)
    card = _card(version.device if seen is None else seen.device or version.device)
    if model is None and seen is not None:
        model = seen.model
    if model is None:
        is_small = card is None and version.cpu_model == "model_cpu"
        model = "model_cpu" if is_small else "model"
    problem = find_problem(directory, source, model)
    if problem is not None:
        raise CatalogError(problem)
    own = (*version.env.items(), ("CUDA_VISIBLE_DEVICES", _visible(card)))
    return Subject(
        name=name,
        source=source,
        directory=directory,
        python=interpreter(directory),
        environment=child_environment(os.environ, own),
        model=model,
        device=CPU if card is None else "cuda:0",
        version=version,
        inference=known.config.inference_of(name),
    )


def _running(known: Known, name: str) -> VersionView | None:
    """Return what the server says of a version that runs now."""
    versions = known.snapshot.versions if known.snapshot is not None else ()
    return next((v for v in versions if v.name == name and v.state == "RUNNING"), None)


def _card(device: str) -> int | None:
    """Return the index of the card a version runs on or would run on; None: the CPU."""
    if device == "auto":
        device = "cuda:0" if NVIDIA.exists() else CPU
    return None if device == CPU else int(device.partition(":")[2] or 0)


def _visible(card: int | None) -> str:
    """Name a card to CUDA as this process sees the cards; a program on the CPU sees none."""
    if card is None:
        return ""
    ours = [word for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    return ours[card].strip() if card < len(ours) else str(card)
