"""Versions' files are known by what is in them, found out beside everything else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerank_server.supervisor.digests import Digests, Files
from rerank_server.supervisor.version_files import fingerprint
from tests.conftest import ROOT
from tests.process.server import Server

PATIENCE_S = 10.0
SHELL = (
    "find -L . -type f -not -path '*/.*' -not -path '*/__pycache__/*' -printf '%P\\n'"
    " | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
)
"""What docs/api.md says a digest is."""


class Reader:
    """Digests, and when they have seen to what was asked of them."""

    def __init__(self, root: Path) -> None:
        self._last = root / "last"
        self._last.mkdir(exist_ok=True)
        self._seen = threading.Event()
        self.digests = Digests(root / "digests.json", self._fingerprint)

    def of(self, directory: Path, expected: str | None = None) -> str | None:
        """Ask, wait until it was looked at, and return what is known then. Once only."""
        files: Files = (str(directory), expected or fingerprint(directory))
        self.digests.ask(files)
        self.digests.ask((str(self._last), "anything"))  # they are looked at in turn
        assert self._seen.wait(PATIENCE_S)
        self.digests.close(PATIENCE_S)
        return self.digests.known.get(files)

    def _fingerprint(self, directory: Path) -> str:
        if directory == self._last:
            self._seen.set()
        return fingerprint(directory)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """Return a version directory with all kinds of files."""
    directory = tmp_path / "v1"
    (directory / "model").mkdir(parents=True)
    (directory / "model" / "model.safetensors").write_bytes(os.urandom(3 << 20))
    (directory / "model" / "two words.json").write_text("{}")
    (directory / "rerank.py").write_text("pass\n")
    (directory / "tokenizer.json").symlink_to("model/two words.json")
    for left_out in (".venv", "__pycache__"):
        (directory / left_out).mkdir()
        (directory / left_out / "file").write_text(left_out)
    return directory


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return a state dir."""
    place = tmp_path / "state"
    place.mkdir()
    yield place
    shutil.rmtree(place)


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def by_shell(directory: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", SHELL], cwd=directory, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.split()[0]


def test_a_digest_is_what_the_docs_say_it_is(version: Path, place: Path) -> None:
    page = (ROOT / "docs" / "api.md").read_text()

    assert Reader(place).of(version) == by_shell(version)
    assert SHELL in " ".join(page.replace("\\\n", " ").split())


def test_a_file_is_read_once_and_again_when_it_changed(version: Path, place: Path) -> None:
    weights = version / "model" / "model.safetensors"
    first = Reader(place).of(version)
    before = weights.stat()

    weights.write_bytes(os.urandom(before.st_size))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    unread = Reader(place).of(version)
    os.utime(weights)
    read = Reader(place).of(version)

    assert unread == first
    assert read == by_shell(version) != first


def test_what_was_replaced_meanwhile_is_not_known(version: Path, place: Path) -> None:
    assert Reader(place).of(version, "of older files") is None


@pytest.mark.parametrize("left", ["", "[]", '{"files": {"x": 3}}', '{"files": 1}'])
def test_a_file_of_no_use_is_found_out_anew(version: Path, place: Path, left: str) -> None:
    (place / "digests.json").write_text(left)

    assert Reader(place).of(version) == by_shell(version)
    assert len(json.loads((place / "digests.json").read_text())["files"]) >= 4


def test_files_that_are_gone_are_forgotten(version: Path, place: Path) -> None:
    Reader(place).of(version)
    (version / "rerank.py").rename(version / "other.py")

    Reader(place).of(version)

    kept = json.loads((place / "digests.json").read_text())["files"]
    assert str(version / "other.py") in kept
    assert str(version / "rerank.py") not in kept


def test_a_directory_that_cannot_be_read_stops_nothing(version: Path, place: Path) -> None:
    reader = Reader(place)
    reader.digests.ask((str(place / "nowhere"), "x"))

    assert reader.of(version) == by_shell(version)


def test_an_end_does_not_wait_for_what_is_left_to_read(place: Path) -> None:
    pipe = place / "v1"
    pipe.mkdir()
    os.mkfifo(pipe / "endless")  # not a file: nobody waits for its writer
    before = threads()
    digests = Digests(place / "digests.json", fingerprint)
    digests.ask((str(pipe), fingerprint(pipe)))

    digests.close(PATIENCE_S)
    digests.ask((str(pipe), "later"))

    assert threads() == before


@pytest.mark.process
def test_a_server_tells_what_it_serves(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2-copy": {"source": "v1"}})
    server.start()

    server.wait(
        lambda state: all(version["digest"] for version in state["versions"]), "the digests"
    )

    expected = by_shell(server.models_dir / "v1")
    told = server.client.get("/versions").json()["versions"]
    assert [version["digest"] for version in told] == [expected, expected]
    assert server.client.get("/info").json()["model_sha"] == expected
    assert (server.state_dir / "digests.json").is_file()
