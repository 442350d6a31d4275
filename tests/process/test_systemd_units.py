"""The units as installed for this environment, judged by systemd's own tools."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, lack
from tests.process.server import Server

pytestmark = pytest.mark.process


def install(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "systemd" / "install.py"), *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze") or lack("no systemd-analyze here")
    return subprocess.run([tool, *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def units(server: Server, short_dir: Path) -> Path:
    """Both units as installed for this environment and a config of the test."""
    server.configure("v1", {"v1": {}}, server={"host": "::1", "port": 9000})
    done = install("--config", str(server.config_path), "--destdir", str(short_dir / "dest"))
    assert done.returncode == 0, done.stderr
    return short_dir / "dest/etc/systemd/system"


def test_installed_units_name_this_environment_and_this_config(units: Path, server: Server) -> None:
    service = (units / "rerank-server.service").read_text()
    command = Path(sys.executable).parent / "rerank-server"

    assert f"ExecStart={command} start --foreground --config {server.config_path}" in service
    assert f"ExecReload={command} reload\n" in service
    assert "ListenStream=[::1]:9000\n" in (units / "rerank-server.socket").read_text()


def test_systemd_finds_nothing_to_say_about_the_units(units: Path) -> None:
    done = analyze("verify", *map(str, sorted(units.iterdir())))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_is_exposed_less_than_three_of_ten(units: Path) -> None:
    service = str(units / "rerank-server.service")

    done = analyze("security", "--offline=true", "--threshold=29", service)

    assert done.returncode == 0, done.stdout[-500:]


def test_a_named_user_takes_the_place_of_the_one_systemd_makes(
    server: Server, short_dir: Path
) -> None:
    server.configure("v1", {"v1": {}})

    install(
        *("--config", str(server.config_path), "--user", "nobody"),
        *("--destdir", str(short_dir / "dest")),
    )

    service = (short_dir / "dest/etc/systemd/system/rerank-server.service").read_text()
    assert "\nUser=nobody\n" in service
    assert "DynamicUser" not in service


def test_files_the_service_could_not_read_are_named_before_anything_is_written(
    server: Server, short_dir: Path
) -> None:
    server.configure("v1", {"v1": {}})  # below a directory that is open to its owner alone

    done = install("--config", str(server.config_path), "--unit-dir", str(short_dir / "units"))

    assert done.returncode == 1
    assert "cannot be read by the user systemd makes" in done.stderr
    assert "--user" in done.stderr
    assert not (short_dir / "units").exists()
