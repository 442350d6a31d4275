"""Disks that are full, directories that cannot be written: one line each, nothing half-written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import finished, program
from tests.conftest import lack

pytestmark = pytest.mark.process

CODE = "def rerank(query, docs):\n    return [0.5 for _ in docs]\n"
CONFIG = "default_version: v1\nversions: {v1: {}}\nmodels_dir: models\nserver: {port: 0}\n"
Mount = Callable[[str], Path]


@pytest.fixture
def mount(short_dir: Path) -> Iterator[Mount]:
    """Mount a file system in memory with these options; return where."""
    place = short_dir / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0:
            pytest.skip("only root mounts file systems")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lack(f"nothing can be mounted here: {done.stderr}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def loose(short_dir: Path) -> Path:
    """A folder with the files of a model, as a hub has them."""
    folder = short_dir / "loose"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}')
    (folder / "model.safetensors").write_bytes(bytes(1_000_000))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def fill(disk: Path) -> None:
    """Write until the disk takes no more."""
    with (disk / "filler").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(65_536))
            except OSError:
                return


def left(disk: Path) -> list[str]:
    return sorted(str(p.relative_to(disk)) for p in disk.rglob("*") if p.name != "filler")


@pytest.mark.parametrize("options", ["size=512k", "ro"])
@pytest.mark.parametrize(
    "words",
    [
        ("init", "v2-x", "--from", "{loose}", "--models-dir", "{disk}"),
        ("init", "v2-x", "--models-dir", "{disk}"),
        ("init", "--config", "{disk}/config.yaml"),
        ("pull", "v1-colbert", "--models-dir", "{disk}"),
        ("start", "--config", "{here}/config.yaml", "--run-dir", "{disk}/r"),
        ("start", "--config", "{here}/config.yaml", "--run-dir", "{here}/r", "--state-dir",
         "{disk}/s"),
    ],
    ids=lambda words: " ".join(words[:3:2]) if isinstance(words, tuple) else None,
)  # fmt: skip
def test_a_disk_that_takes_nothing_is_one_line(
    mount: Mount, loose: Path, short_dir: Path, words: tuple[str, ...], options: str
) -> None:
    disk = mount(options)
    if options != "ro":
        fill(disk)
    version(short_dir / "models", "v1")
    (short_dir / "config.yaml").write_text(CONFIG)
    asked = [word.format(disk=disk, loose=loose, here=short_dir) for word in words]

    done = finished(program(*asked))

    said = [line for line in done.err if not line.startswith("starting (PID: ")]
    assert (done.code, done.out, len(said)) == (1, [], 1)
    assert said[0].startswith("error: ") and str(disk) in said[0]
    assert "Traceback" not in said[0]
    files = [path for path in left(disk) if (disk / path).is_file()]
    assert [path for path in files if (disk / path).name not in ("lock", "supervisor.log")] == []


def test_requirements_that_do_not_fit_on_the_disk_leave_no_environment(mount: Mount) -> None:
    disk = mount("size=512k")
    directory = version(disk, "v1")
    (directory / "requirements.txt").write_text("tokenizers==0.21.0\n")

    done = finished(program("install", "v1", "--models-dir", str(disk)))

    assert (done.code, done.out) == (1, [])
    assert done.err[-1].startswith("error: ")
    assert not [path for path in left(disk) if ".venv/" in path or "building" in path]
    assert (directory / "rerank.py").read_text() == CODE


def version(models: Path, name: str) -> Path:
    directory = models / name
    directory.mkdir(parents=True)
    (directory / "rerank.py").write_text(CODE)
    return directory
