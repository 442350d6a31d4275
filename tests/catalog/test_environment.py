from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rerank_server.catalog.environment import install, needs_install
from rerank_server.catalog.progress import Silent
from rerank_server.core.environment import STAMP
from rerank_server.errors import CatalogError

if TYPE_CHECKING:
    from tests.catalog.conftest import Index, Recorder


def version(models: Path, name: str, requirements: str) -> Path:
    (models / name).mkdir(parents=True)
    (models / name / "requirements.txt").write_text(requirements)
    return models / name


def evaluate(directory: Path, code: str) -> str:
    """Run code in the version's environment as a worker would be; gives what it printed."""
    ran = subprocess.run(
        [directory / ".venv" / "bin" / "python", "-I", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "/nowhere"},
    )
    return ran.stdout.strip()


def publish(index: Index, version: str) -> None:
    code = f"__version__ = {version!r}\n".encode()
    index.add("tinylib", {"tinylib.py": code}, version)


@pytest.mark.process
def test_two_versions_have_their_own_releases_of_one_library(
    index: Index, tmp_path: Path, recorder: Recorder
) -> None:
    publish(index, "1.0")
    publish(index, "2.0")
    old = version(tmp_path, "v1", "tinylib==1.0\n")
    new = version(tmp_path, "v2", "tinylib>=2\n")

    assert install(old, recorder)
    assert install(new, recorder)

    ask = "import tinylib; print(tinylib.__version__)"
    assert evaluate(old, ask) == "1.0"
    assert evaluate(new, ask) == "2.0"
    assert any(note.startswith("v2: Installing collected") for note in recorder.notes)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


@pytest.mark.process
def test_own_packages_go_before_the_servers_and_the_rest_is_shared(
    index: Index, tmp_path: Path
) -> None:
    import markupsafe

    servers_own = Path(markupsafe.__file__)
    before = servers_own.stat()
    index.add("markupsafe", {"markupsafe.py": b"__version__ = 'mine'\n"}, "0.1")
    directory = version(tmp_path, "v1", "markupsafe==0.1\n")

    install(directory, Silent())

    code = "import markupsafe, numpy, rerank_workers; print(markupsafe.__version__)"
    assert evaluate(directory, code) == "mine"
    assert servers_own.stat() == before


@pytest.mark.process
def test_what_the_server_has_in_a_fitting_release_is_not_fetched(
    index: Index, tmp_path: Path
) -> None:
    directory = version(tmp_path, "v1", "numpy\n")

    install(directory, Silent())

    packages = next((directory / ".venv").glob("lib/python*/site-packages"))
    assert not (packages / "numpy").exists()
    assert evaluate(directory, "import numpy; print('found')") == "found"


@pytest.mark.process
def test_scripts_start_from_where_the_environment_stands(index: Index, tmp_path: Path) -> None:
    entry = b"[console_scripts]\ntiny = tinylib:main\n"
    code = b"def main():\n    print('started')\n"
    files = {"tinylib.py": code, "tinylib-1.0.dist-info/entry_points.txt": entry}
    index.add("tinylib", files)
    directory = version(tmp_path, "v1", "tinylib\n")

    install(directory, Silent())

    script = directory / ".venv" / "bin" / "tiny"
    assert subprocess.run([script], capture_output=True, check=True).stdout == b"started\n"
    assert [path.name for path in directory.iterdir() if path.name.startswith(".")] == [".venv"]
    assert "building" not in (directory / ".venv" / "pyvenv.cfg").read_text()


@pytest.mark.process
def test_it_is_built_anew_only_when_the_requirements_change(index: Index, tmp_path: Path) -> None:
    publish(index, "1.0")
    publish(index, "2.0")
    directory = version(tmp_path, "v1", "tinylib==1.0\n")
    assert needs_install(directory)

    assert install(directory, Silent())
    assert not needs_install(directory)
    assert not install(directory, Silent())

    (directory / "requirements.txt").write_text("tinylib==2.0\n")
    assert needs_install(directory)
    assert install(directory, Silent())
    assert evaluate(directory, "import tinylib; print(tinylib.__version__)") == "2.0"
    assert install(directory, Silent(), force=True)


@pytest.mark.process
def test_a_failed_install_says_pips_last_words_and_keeps_the_old(
    index: Index, tmp_path: Path
) -> None:
    publish(index, "1.0")
    directory = version(tmp_path, "v1", "tinylib==1.0\n")
    install(directory, Silent())
    (directory / "requirements.txt").write_text("tinylib==7.0\n")

    with pytest.raises(CatalogError, match=r"v1: requirements.txt: .*tinylib==7.0") as caught:
        install(directory, Silent())

    assert "\n" not in caught.value.message
    assert evaluate(directory, "import tinylib; print(tinylib.__version__)") == "1.0"
    assert needs_install(directory)
    assert [path.name for path in directory.iterdir() if path.name.startswith(".")] == [".venv"]


def test_a_version_without_requirements_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()

    assert not needs_install(tmp_path / "v1")
    assert not install(tmp_path / "v1", Silent())


def test_an_environment_without_a_stamp_does_not_count(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", "tinylib\n")
    (directory / ".venv" / "bin").mkdir(parents=True)
    (directory / ".venv" / "bin" / "python").write_text("")

    assert needs_install(directory)
    (directory / ".venv" / STAMP).write_text("{}")
    assert needs_install(directory)


def test_a_second_builder_is_refused(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", "tinylib\n")
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

        with pytest.raises(CatalogError, match="another process is installing"):
            install(directory, Silent())
    finally:
        os.close(descriptor)
