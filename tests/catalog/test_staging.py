from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from rerank_server.catalog.staging import is_complete, publish, require_space, staged
from rerank_server.errors import CatalogError


def build(directory: Path, weights: str = "new") -> Path:
    (directory / "model").mkdir(parents=True)
    (directory / "model" / "model.safetensors").write_text(weights)
    (directory / "rerank.py").write_text("new code")
    return directory


def test_a_version_is_complete_once_its_model_folder_holds_weights(tmp_path: Path) -> None:
    assert not is_complete(tmp_path / "v1")

    (tmp_path / "v1" / "model").mkdir(parents=True)
    (tmp_path / "v1" / "model" / "config.json").write_text("{}")
    assert not is_complete(tmp_path / "v1")

    (tmp_path / "v1" / "model" / "pytorch_model.bin").write_text("w")
    assert is_complete(tmp_path / "v1")


@pytest.mark.parametrize("is_there", [True, False])
def test_an_absent_or_empty_place_is_filled_in_one_step(tmp_path: Path, is_there: bool) -> None:
    target = tmp_path / "v1"
    if is_there:
        target.mkdir()

    with staged(tmp_path, "v1") as stage:
        publish(build(stage / "built"), target)

    assert is_complete(target)
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def test_an_incomplete_version_keeps_its_owners_files(tmp_path: Path) -> None:
    target = tmp_path / "v1"
    target.mkdir()
    (target / "rerank.py").write_text("my code")
    (target / "requirements.txt").write_text("numpy")

    with staged(tmp_path, "v1") as stage:
        publish(build(stage / "built"), target)

    assert is_complete(target)
    assert (target / "rerank.py").read_text() == "my code"
    assert (target / "requirements.txt").read_text() == "numpy"


def test_force_replaces_the_model_and_sets_own_code_aside(tmp_path: Path) -> None:
    target = build(tmp_path / "v1", weights="old")
    (target / "rerank.py").write_text("my code")

    with staged(tmp_path, "v1") as stage:
        publish(build(stage / "built"), target, force=True)

    assert (target / "model" / "model.safetensors").read_text() == "new"
    assert (target / "rerank.py").read_text() == "new code"
    assert (target / "rerank.py.old").read_text() == "my code"
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "models", "v1") as stage:
        (stage / "half").write_text("half")
        raise ZeroDivisionError

    assert list((tmp_path / "models").iterdir()) == []


def test_what_a_killed_build_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".pull-v1" / "built").mkdir(parents=True)

    with staged(tmp_path, "v1") as stage:
        assert list(stage.iterdir()) == []


def test_a_build_that_can_go_on_finds_and_leaves_its_files(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(tmp_path, "v1", keep=True) as stage:
        (stage / "half").write_text("half")
        raise ZeroDivisionError

    with staged(tmp_path, "v1", keep=True) as stage:
        assert (stage / "half").read_text() == "half"
    assert list(tmp_path.iterdir()) == []


def hold(models_dir: Path, pipe: Connection) -> None:
    with staged(models_dir, "v1"):
        pipe.send("locked")
        pipe.recv()
    pipe.send("left")


@pytest.mark.process
def test_a_second_builder_of_the_same_version_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=hold, args=(tmp_path, there))
    other.start()
    try:
        assert here.poll(30)
        assert here.recv() == "locked"

        with (
            pytest.raises(CatalogError, match="another process is fetching 'v1'"),
            staged(tmp_path, "v1"),
        ):
            pass
        with staged(tmp_path, "v2-m3"):
            pass

        here.send("go on")
        assert here.poll(30)
        assert here.recv() == "left"
        with staged(tmp_path, "v1"):
            pass
    finally:
        other.kill()
        other.join()
        other.close()
        here.close()
        there.close()


def test_a_models_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CatalogError) as caught, staged(tmp_path / "file" / "models", "v1"):
        pass

    assert "Not a directory" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("number", "message"),
    [(28, "the disk is full"), (30, "cannot be written"), (5, "Input/output error")],
)
def test_errors_of_the_file_system_are_one_line(tmp_path: Path, number: int, message: str) -> None:
    with pytest.raises(CatalogError, match=message), staged(tmp_path, "v1"):
        raise OSError(number, "Input/output error", str(tmp_path))


def test_a_build_larger_than_the_disk_is_refused_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="GB are needed and"):
        require_space(tmp_path, 10**18)
