from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from rerank_server.catalog.initialize import config_lines, initialize
from rerank_server.catalog.progress import Silent
from rerank_server.errors import CatalogError

if TYPE_CHECKING:
    from tests.catalog.conftest import Recorder

CONFIG = json.dumps({"architectures": ["BertForSequenceClassification"]}).encode()
LOOSE = {
    "config.json": CONFIG,
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "vocab.txt": b"a\nb",
    "picture.png": b"p",
}
IN_PLACE = {
    "model/config.json",
    "model/model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/vocab.txt",
    "rerank.py",
}


def spread(directory: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def files_of(directory: Path) -> set[str]:
    return {
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("folder", ["", "bge-reranker-v2-gemma/"])
@pytest.mark.parametrize("kind", ["zip", "directory"])
def test_a_folder_or_zip_becomes_a_version(
    tmp_path: Path, kind: str, folder: str, recorder: Recorder
) -> None:
    files = {folder + name: content for name, content in LOOSE.items()}
    make = {"zip": zipped, "directory": spread}[kind]
    origin = make(tmp_path / "brought", files)

    result = initialize("v2-gemma", tmp_path / "models", recorder, origin=origin)

    assert result.directory == tmp_path / "models" / "v2-gemma"
    assert files_of(result.directory) == IN_PLACE
    assert "cross_encoder.load(" in (result.directory / "rerank.py").read_text()
    assert result.notes == (
        "rerank.py was made from the cross_encoder template",
        "1 files no version needs were left out",
    )
    done, total, _ = recorder.updates[-1]
    assert done == total
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["v2-gemma"]
    assert origin.exists()


def test_links_of_a_hub_cache_become_files(tmp_path: Path) -> None:
    blobs = spread(tmp_path / "blobs", LOOSE)
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for name in LOOSE:
        (snapshot / name).symlink_to(blobs / name)

    result = initialize("v1", tmp_path / "models", Silent(), origin=snapshot)

    assert files_of(result.directory) == IN_PLACE
    assert not any(path.is_symlink() for path in result.directory.rglob("*"))


@pytest.mark.parametrize("wrapped", ["", "bge-x/"])
def test_files_that_lie_there_already_are_put_in_order(tmp_path: Path, wrapped: str) -> None:
    files = {wrapped + name: content for name, content in LOOSE.items()}
    spread(tmp_path / "v1", files | {"requirements.txt": b"numpy\n", ".venv/x": b""})

    result = initialize("v1", tmp_path, Silent())

    rest = {f"{wrapped}picture.png", "requirements.txt", ".venv/x"}
    assert files_of(tmp_path / "v1") == IN_PLACE | rest
    assert "4 files were moved to their places" in result.notes


def test_an_emptied_wrapper_folder_is_removed(tmp_path: Path) -> None:
    loose = {f"a/b/{name}": content for name, content in LOOSE.items() if name != "picture.png"}
    spread(tmp_path / "v1", {name.replace("a/b", "a"): content for name, content in loose.items()})

    initialize("v1", tmp_path, Silent())

    assert not (tmp_path / "v1" / "a").exists()
    assert files_of(tmp_path / "v1") == IN_PLACE


def test_a_version_in_order_is_left_as_it_is(tmp_path: Path) -> None:
    initialize("v1", tmp_path, Silent(), origin=spread(tmp_path / "brought", LOOSE))

    again = initialize("v1", tmp_path, Silent())

    assert again.notes == ("its own rerank.py is used",)
    assert files_of(tmp_path / "v1") == IN_PLACE


def test_a_link_in_the_version_becomes_a_file(tmp_path: Path) -> None:
    spread(tmp_path / "v1", {n: c for n, c in LOOSE.items() if n != "model.safetensors"})
    (tmp_path / "outside").write_bytes(b"weights")
    (tmp_path / "v1" / "model.safetensors").symlink_to(tmp_path / "outside")

    initialize("v1", tmp_path, Silent())

    weights = tmp_path / "v1" / "model" / "model.safetensors"
    assert weights.read_bytes() == b"weights"
    assert not weights.is_symlink()


def test_two_files_for_one_place_change_nothing(tmp_path: Path) -> None:
    both = LOOSE | {"tokenizer/tokenizer.json": b"other"}
    spread(tmp_path / "v1", both)

    with pytest.raises(CatalogError, match=r"two files for tokenizer/tokenizer.json"):
        initialize("v1", tmp_path, Silent())

    assert files_of(tmp_path / "v1") == set(both)


def test_an_own_rerank_py_is_kept(tmp_path: Path) -> None:
    mine = b"def rerank(query, docs):\n    return [0.0] * len(docs)\n"
    archive = zipped(tmp_path / "x.zip", LOOSE | {"rerank.py": mine})

    result = initialize("v1", tmp_path / "models", Silent(), origin=archive)

    assert (result.directory / "rerank.py").read_bytes() == mine
    assert "its own rerank.py is used" in result.notes


def test_a_name_without_files_gets_folders_and_a_template(tmp_path: Path) -> None:
    result = initialize("v3-mine", tmp_path, Silent())

    assert (result.directory / "model").is_dir()
    assert (result.directory / "tokenizer").is_dir()
    assert "families.load(" in (result.directory / "rerank.py").read_text()
    assert "put the weights into model/" in result.notes[-1]


def test_an_existing_model_is_replaced_only_by_force(tmp_path: Path) -> None:
    origin = spread(tmp_path / "brought", LOOSE)
    initialize("v1", tmp_path / "models", Silent(), origin=origin)
    weights = tmp_path / "models" / "v1" / "model" / "model.safetensors"
    (origin / "model.safetensors").write_bytes(b"fine-tuned")

    with pytest.raises(CatalogError, match="holds a model already"):
        initialize("v1", tmp_path / "models", Silent(), origin=origin)
    assert weights.read_bytes() == b"weights"

    initialize("v1", tmp_path / "models", Silent(), origin=origin, force=True)
    assert weights.read_bytes() == b"fine-tuned"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": CONFIG}, "no weights in it"),
        ({"config.json": CONFIG, "model.safetensors": b"w"}, "no tokenizer in it"),
        (LOOSE | {"config.json": b"{"}, "not a model's config.json"),
        (LOOSE | {"config.json": b"[]"}, "not a model's config.json"),
        (LOOSE | {"rerank.py": b"def other(): ..."}, "does not define rerank"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "directory"])
def test_files_that_make_no_version_leave_nothing(
    tmp_path: Path, kind: str, files: dict[str, bytes], message: str
) -> None:
    make = {"zip": zipped, "directory": spread}[kind]
    origin = make(tmp_path / "brought", files)

    with pytest.raises(CatalogError, match=message) as caught:
        initialize("v1", tmp_path / "models", Silent(), origin=origin)

    assert "\n" not in caught.value.message
    assert not (tmp_path / "models" / "v1").exists()
    assert not list((tmp_path / "models").glob(".pull*"))


def test_a_damaged_zip_leaves_nothing(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", LOOSE)
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"weights", b"WEIGHTS"))

    with pytest.raises(CatalogError, match="not a sound zip"):
        initialize("v1", tmp_path / "models", Silent(), origin=archive)

    assert list((tmp_path / "models").iterdir()) == []


def test_a_missing_origin_and_a_bad_name_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no such file or directory"):
        initialize("v1", tmp_path, Silent(), origin=tmp_path / "absent")
    with pytest.raises(CatalogError, match="not a version name"):
        initialize("gemma", tmp_path, Silent())

    assert list(tmp_path.iterdir()) == []


def test_the_lines_for_config_yaml_are_yaml() -> None:
    assert yaml.safe_load(config_lines("v2-m3-prod")) == {
        "versions": {
            "v2-m3-prod": {
                "enabled": True,
                "description": "",
                "endpoint": "/rerank/v2-m3-prod",
            }
        }
    }
