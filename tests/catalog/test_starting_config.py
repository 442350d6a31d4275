from __future__ import annotations

from pathlib import Path

import pytest

from rerank_server.catalog.starting_config import shipped, write_config
from rerank_server.config import parse
from rerank_server.errors import CatalogError


@pytest.mark.parametrize("is_demo", [False, True])
def test_the_written_file_is_a_valid_configuration(tmp_path: Path, is_demo: bool) -> None:
    path = write_config(tmp_path / "config.yaml", is_demo=is_demo)

    config = parse(path.read_text(encoding="utf-8"), path=str(path))
    assert config.models_dir == "models"
    assert ("v2-minilm" in config.versions) is is_demo


def test_in_a_folder_called_etc_the_models_lie_beside_it(tmp_path: Path) -> None:
    path = write_config(tmp_path / "etc" / "config.yaml")

    assert path.read_text(encoding="utf-8") == shipped("config.yaml")
    assert parse(path.read_text(encoding="utf-8"), path=str(path)).models_dir == "../models"


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")

    with pytest.raises(CatalogError, match="exists; it was left as it is"):
        write_config(tmp_path / "config.yaml")

    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CatalogError, match=r"File exists|Not a directory") as caught:
        write_config(tmp_path / "file" / "config.yaml")

    assert "\n" not in caught.value.message


def test_a_file_this_installation_lacks_is_said_so() -> None:
    with pytest.raises(CatalogError, match="has no etc/absent"):
        shipped("absent.yaml")
