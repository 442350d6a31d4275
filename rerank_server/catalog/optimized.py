"""Has a version's `model_cpu/` made by a program of the version's own environment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rerank_server.catalog.command import CommandFailed, lines
from rerank_server.catalog.stages import Stages
from rerank_server.catalog.staging import locked
from rerank_server.errors import CatalogError

FOLDER = "model_cpu"
PREVIOUS = "model_cpu.previous"
_DRAFTS = ".model_cpu.*"
_SILENCE_S = 7200.0
"""To quantise a model of billions of weights takes long, and tells nothing meanwhile."""


@dataclass(frozen=True, slots=True)
class Optimized:
    """What came of it."""

    installed: str | None
    """The variant that now lies in model_cpu/; None where each was refused."""
    report: Mapping[str, object]


def optimize(
    directory: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    stages: Stages,
    *,
    force: bool = False,
) -> Optimized:
    """Run the program that makes, proves and installs variants. Blocks for minutes.

    What stood in model_cpu/ is replaced with `force` only, and kept beside it. If this is given up
    (Ctrl-C), the program is gone and the directory is as it was.

    Raises:
        CatalogError: model_cpu/ is there already, another process is at work on the directory, or
            the program failed (with its last words).
    """
    with locked(directory, f"another process is at work on {directory} right now"):
        had_one = (directory / FOLDER).exists()
        if had_one and not force:
            raise CatalogError(
                f"{directory / FOLDER} is there already; --force replaces it "
                f"(it is kept as {PREVIOUS})"
            )
        try:
            return _finished(directory, command, environment, stages)
        finally:
            _tidy(directory, had_one=had_one)


def _finished(
    directory: Path, command: Sequence[str], environment: Mapping[str, str], stages: Stages
) -> Optimized:
    result: Optimized | None = None
    failure: str | None = None
    try:
        for line in lines(command, directory, environment, _SILENCE_S):
            said = _said(line)
            if "stage" in said:
                stages.reached(str(said["stage"]), float(str(said["share"])))
            elif "error" in said:
                failure = str(said["error"])
            elif isinstance(report := said.get("report"), dict):
                installed = said.get("installed")
                result = Optimized(None if installed is None else str(installed), report)
    except CommandFailed as error:
        # A refusal ends with 1 as well; the report was the last word before it.
        failure = failure or error.message
    if result is None:
        raise CatalogError(failure or "the program ended without a report")
    return result


def _said(line: str) -> Mapping[str, object]:
    """Read a line of JSON; anything else (libraries write to stderr) says nothing."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return cast(Mapping[str, object], value) if isinstance(value, dict) else {}


def _tidy(directory: Path, *, had_one: bool) -> None:
    """Leave nothing half-written: the program may have been killed at any point."""
    for draft in directory.glob(_DRAFTS):
        shutil.rmtree(draft, ignore_errors=True)
    place, previous = directory / FOLDER, directory / PREVIOUS
    if had_one and not place.exists() and previous.exists():
        previous.rename(place)  # killed between its two renames
