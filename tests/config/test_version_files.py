"""What the supervisor makes of a version's files, however they lie."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from rerank_server.core.wanted import WantedVersion
from rerank_server.supervisor.desired import Overrides, desire


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the directory of v1, which can be served."""
    (tmp_path / "config.yaml").write_text("default_version: v1\nversions: {v1: {}, v2: {}}\n")
    for name in ("v1", "v2"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "model.safetensors").write_bytes(b"w" * 100)
        (tmp_path / name / "rerank.py").write_text("def rerank(query, docs): ...\n")
    return tmp_path / "v1"


def wanted(directory: Path, name: str = "v1") -> WantedVersion:
    config = directory.parent / "config.yaml"
    return desire(config, Overrides(), 1).wanted.versions[name]


def test_other_files_make_another_spec(directory: Path) -> None:
    before = wanted(directory).spec

    (directory / "model" / "notes.txt").write_text("new")

    assert before is not None
    assert wanted(directory).spec != before
    assert wanted(directory, "v2").problem is None


def test_a_link_that_leads_nowhere_is_no_problem_and_its_repair_is_a_change(
    directory: Path,
) -> None:
    (directory / "notes.txt").symlink_to(directory / "elsewhere.txt")
    before = wanted(directory)

    (directory.parent / "v1" / "elsewhere.txt").write_text("there now")

    assert before.problem is None
    assert wanted(directory).spec != before.spec


def test_a_directory_that_changes_under_the_look_spoils_no_other_version(directory: Path) -> None:
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            (directory / "more" / "inner").mkdir(parents=True, exist_ok=True)
            shutil.rmtree(directory / "more")

    someone = threading.Thread(target=come_and_go)
    someone.start()
    try:
        problems = {(wanted(directory, "v2").problem, wanted(directory).name) for _ in range(200)}
    finally:
        is_over.set()
        someone.join()

    assert problems == {(None, "v1")}


def test_a_directory_that_cannot_be_looked_at_is_a_problem_of_its_version(
    directory: Path,
) -> None:
    (directory.parent / "config.yaml").write_text(
        f"default_version: v1\nversions: {{v1: {{}}}}\nmodels_dir: {'x' * 300}\n"
    )

    assert "cannot be read" in str(wanted(directory).problem)
