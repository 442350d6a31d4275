from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from rerank_server import __version__
from tests.conftest import ROOT
from tests.contract.source_tree import KNOWN, imports
from tests.packaging.conftest import Distribution, Installation, build

pytestmark = pytest.mark.env

INFO = f"rerank_server-{__version__}.dist-info"
OWN = {"rerank_server", "rerank_workers", "pydantic_core"}
"""Our packages, and the half of pydantic that pydantic itself pins to a release."""


def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked(*paths: str) -> set[str]:
    """Return the files under these paths that git knows or would add."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *paths]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    return {path for path in done.stdout.splitlines() if (ROOT / path).is_file()}


def test_the_wheel_carries_both_packages_and_what_they_ship(distribution: Distribution) -> None:
    found = wheel_files(distribution.wheel)

    expected = {path.removeprefix("workers/") for path in tracked("rerank_server", "workers")}
    expected |= {f"rerank_server/share/{path}" for path in tracked("etc", "systemd")}
    assert {path for path in found if not path.startswith(INFO)} == expected
    assert f"{INFO}/licenses/LICENSE" in found


def test_the_sdist_is_the_tree_with_its_tests_and_without_weights(
    distribution: Distribution,
) -> None:
    with tarfile.open(distribution.sdist) as archive:
        found = {member.name.partition("/")[2] for member in archive.getmembers()}

    assert found - {"PKG-INFO"} == tracked()
    assert {path for path in found if path.startswith("models/")} == {"models/README.md"}


def test_the_sdist_builds_the_same_wheel(distribution: Distribution, tmp_path: Path) -> None:
    with tarfile.open(distribution.sdist) as archive:
        archive.extractall(tmp_path, filter="data")

    again = build(next(tmp_path.iterdir()), tmp_path / "dist")

    assert again.wheel.name == distribution.wheel.name
    assert again.wheel.read_bytes() == distribution.wheel.read_bytes()


def test_what_the_code_imports_is_declared(distribution: Distribution) -> None:
    with zipfile.ZipFile(distribution.wheel) as archive:
        metadata = message_from_bytes(archive.read(f"{INFO}/METADATA"))
    required = metadata.get_all("Requires-Dist") or []
    declared = {normal(re.split(r"[<>=!~; \[]", line, maxsplit=1)[0]) for line in required}
    owners = packages_distributions()

    foreign = {
        (found.module.partition(".")[0], found.place)
        for path in KNOWN.values()
        for found in imports(path)
    }
    undeclared = {
        f"{place}: {module}"
        for module, place in foreign
        if module not in sys.stdlib_module_names | OWN
        and not declared & {normal(name) for name in owners.get(module, [module])}
    }
    assert not undeclared


def normal(name: str) -> str:
    """Return a project's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_an_installation_has_its_code_from_the_wheel_alone(
    installation: Installation, tmp_path: Path
) -> None:
    code = "import rerank_server, rerank_workers as w; print(rerank_server.__file__, w.__file__)"

    done = installation.run("python", "-c", code, cwd=tmp_path)

    places = [Path(word) for word in done.stdout.split()]
    assert [place.parents[1] for place in places] == [installation.packages] * 2


def test_the_units_can_be_written_from_an_installation(
    installation: Installation, tmp_path: Path
) -> None:
    script = installation.packages / "rerank_server" / "share" / "systemd" / "install.py"
    (tmp_path / "config.yaml").write_text("default_version: v1\nversions: {v1: {}}\n")

    done = installation.run(
        "python", str(script), "--config", "config.yaml", "--destdir", str(tmp_path), cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    unit = (tmp_path / "etc/systemd/system/rerank-server.service").read_text()
    assert f"{installation.environment}/bin/rerank-server start" in unit
