"""Builds the environment of a version that has requirements of its own.

`<version>/.venv` sees its own packages first and those of the server's environment after them:
what requirements.txt does not name (torch, say) is shared, what it pins is the version's own. The
server's packages come in through a `.pth` file of plain paths, since a virtual environment's
"system site packages" are those of the base interpreter, not of the environment the server is in.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from rerank_server.catalog.command import CommandFailed, lines, pip_reason
from rerank_server.catalog.progress import Progress
from rerank_server.catalog.staging import disk_errors, locked
from rerank_server.core.environment import STAMP, stamp
from rerank_server.errors import CatalogError

_TOLD = ("Collecting ", "Downloading ", "Building wheel", "Installing collected")
_PROBE_S = 30.0


def needs_install(directory: Path) -> bool:
    """Whether a version has requirements that its environment does not fit (or none is there).

    Raises:
        CatalogError: requirements.txt cannot be read.
    """
    requirements = directory / "requirements.txt"
    if not requirements.is_file():
        return False
    found = directory / ".venv" / STAMP
    if not found.is_file() or not _python(directory / ".venv").exists():
        return True
    with disk_errors(directory):
        return found.read_text(encoding="utf-8") != _stamp(requirements)


def install(directory: Path, progress: Progress, *, force: bool = False) -> bool:
    """Build a version's environment from its requirements.txt; tells whether it was built.

    One that fits is left alone unless `force`. The new one takes the old one's place when it is
    complete; if pip fails, the old one stays. Blocks; a second builder is refused.

    Raises:
        CatalogError: another process builds it, pip failed (with its last words), or the
            directory cannot be written.
    """
    if not (directory / "requirements.txt").is_file():
        return False
    refusal = f"another process is installing the requirements of {directory.name} right now"
    with disk_errors(directory), locked(directory, refusal):
        if not force and not needs_install(directory):
            return False
        building = directory / ".venv-building"
        _remove(building)
        try:
            _create(building)
            _run_pip(directory, building, progress)
            (building / STAMP).write_text(_stamp(directory / "requirements.txt"), encoding="utf-8")
            _relocate(building, directory / ".venv")
            _put_in_place(building, directory / ".venv")
        finally:
            _remove(building)
        return True


def _create(building: Path) -> None:
    """Make an empty environment that sees the server's packages behind its own."""
    # Copies, so that a version holds no links; an interpreter that finds its own library by its
    # place cannot be copied, and is linked to.
    venv.EnvBuilder(symlinks=False).create(building)
    if not _runs(_python(building)):
        _remove(building)
        venv.EnvBuilder(symlinks=True).create(building)
    for spare in building.glob("bin/python?*"):
        spare.unlink()
    if sys.platlibdir == "lib" and (building / "lib64").is_symlink():
        (building / "lib64").unlink()
    packages = next(building.glob("lib*/python*/site-packages"))
    # Sorted last: a path file of the version's own packages goes before.
    text = "".join(f"{path}\n" for path in _base_paths())
    (packages / "zzz-rerank-server-base.pth").write_text(text, encoding="utf-8")


def _run_pip(directory: Path, building: Path, progress: Progress) -> None:
    python = str(_python(building).absolute())
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--requirement", str((directory / "requirements.txt").absolute())]
    try:
        for line in lines(command, directory, _pip_environment()):
            if line.lstrip().startswith(_TOLD):
                progress.note(f"{directory.name}: {line.strip()}")
    except CommandFailed as error:
        reason = pip_reason(sys.executable, error.said)
        raise CatalogError(f"{directory.name}: requirements.txt: {reason}") from error


def _pip_environment() -> Mapping[str, str]:
    """The user's settings for pip, less what would lead it, or its Python, astray."""
    astray = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT"}
    return {name: value for name, value in os.environ.items() if name not in astray}


def _base_paths() -> list[str]:
    """Directories with the server's packages, the worker package among them."""
    paths = [path for path in site.getsitepackages() if Path(path).is_dir()]
    # An editable install points to it from a file that only its own environment reads.
    spec = importlib.util.find_spec("rerank_workers")
    if spec is not None and spec.origin is not None:
        workers = str(Path(spec.origin).parents[1])
        if workers not in paths:
            paths.append(workers)
    return paths


def _stamp(requirements: Path) -> str:
    """Describe what an environment is built from."""
    facts = {"python": sys.version, "prefix": sys.base_prefix, "paths": _base_paths()}
    return stamp(requirements.read_bytes(), facts)


def _relocate(building: Path, final: Path) -> None:
    """Make the start lines of scripts name the place the environment will stand at."""
    old, new = os.fsencode(building.absolute()), os.fsencode(final.absolute())
    for path in (building / "pyvenv.cfg", *(building / "bin").iterdir()):
        if path.is_symlink() or path.name == "python":
            continue
        content = path.read_bytes()
        if old in content:
            path.write_bytes(content.replace(old, new))


def _put_in_place(building: Path, final: Path) -> None:
    replaced = final.with_name(".venv-replaced")
    _remove(replaced)
    if final.exists():
        final.rename(replaced)
    building.rename(final)
    _remove(replaced)


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _runs(python: Path) -> bool:
    try:
        ran = subprocess.run(
            [python, "-I", "-c", ""], capture_output=True, check=False, timeout=_PROBE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
