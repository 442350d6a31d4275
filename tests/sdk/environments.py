"""Environments with packages from PyPI, each built once and kept under `.venvs`."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import ROOT, lack

ENVIRONMENTS = ROOT / ".venvs"
_STAMP = "requirements"  # written last: without it the environment is not complete


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment with just these packages; skip if it cannot be made.

    Kept between runs, built anew when the requirements change. May be deleted at any time.
    """
    directory = ENVIRONMENTS / name
    python = directory / "bin" / "python"
    wanted = "\n".join([sys.version, *requirements])
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = directory / _STAMP
        if stamp.is_file() and stamp.read_text() == wanted:
            return python
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True, timeout=120)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        done = subprocess.run(
            [*pip, *requirements], capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode != 0:
            lack(f"pip cannot install {', '.join(requirements)}: {done.stderr[-500:]}")
        stamp.write_text(wanted)
    return python
