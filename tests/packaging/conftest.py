"""The distribution built from this tree, and an installation of it that knows no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

_NOT_SHARED = ("rerank", "_rerank", "__editable__", "__pycache__")
"""Beginnings of entries of site-packages that an installation must have of its own."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is uploaded for one release."""

    wheel: Path
    sdist: Path


@dataclass(frozen=True, slots=True)
class Installation:
    """An environment with the wheel in it."""

    environment: Path

    @property
    def packages(self) -> Path:
        """Where its packages lie."""
        return next((self.environment / "lib").glob("python*/site-packages"))

    def run(self, *command: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment to its end, with a clean slate of our own settings."""
        ours = ("RERANK_SERVER_", "PYTHON", "VIRTUAL_ENV", "HF_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return subprocess.run(
            [str(self.environment / "bin" / command[0]), *command[1:]],
            cwd=cwd,
            env={**kept, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """Return wheel and sdist of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def build(tree: Path, into: Path) -> Distribution:
    """Build a tree's wheel and sdist with the backend that pyproject.toml names."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(into)],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return Distribution(next(into.glob("*.whl")), next(into.glob("*.tar.gz")))


@pytest.fixture(scope="session")
def installation(
    distribution: Distribution, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """Return an environment outside any checkout that the wheel was installed in by pip.

    What it depends on is linked from the environment the tests run in, so that torch is not
    fetched again; pip must find it all there, in releases that the wheel takes.
    """
    made = Installation(tmp_path_factory.mktemp("fresh") / "venv")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(made.environment)],
        check=True,
        timeout=60,
    )
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(_NOT_SHARED):
            (made.packages / entry.name).symlink_to(entry)
    pip = [sys.executable, "-m", "pip", "--python", str(made.environment / "bin" / "python")]
    wanted = f"{distribution.wheel}[onnx,modelscope]"
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "install", "--no-index", wanted],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return made
