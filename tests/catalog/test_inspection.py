from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from rerank_server.catalog.inspection import inspect_version

CODE = "def rerank(query, docs):\n    return [0.0] * len(docs)\n"


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A version directory nothing is wrong with."""
    directory = tmp_path / "v1"
    (directory / "model").mkdir(parents=True)
    (directory / "tokenizer").mkdir()
    (directory / "rerank.py").write_text(CODE)
    (directory / "model" / "config.json").write_text("{}")
    save_file({"w": np.ones((2, 3), dtype=np.float32)}, directory / "model" / "model.safetensors")
    vocabulary = WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]")
    Tokenizer(vocabulary).save(str(directory / "tokenizer" / "tokenizer.json"))
    return directory


def texts(directory: Path, name: str = "v1") -> list[str]:
    problems = inspect_version(name, directory)
    assert {problem.version for problem in problems} <= {name}
    return [problem.text for problem in problems]


@pytest.mark.process
def test_a_sound_version_has_no_problems(sound: Path) -> None:
    assert texts(sound) == []


@pytest.mark.process
def test_all_problems_are_found_at_once(sound: Path) -> None:
    (sound / "rerank.py").write_text("def other(): ...")
    (sound / "model" / "model.safetensors").write_bytes(b"")
    (sound / "model" / "config.json").write_text("{")
    (sound / "tokenizer" / "tokenizer.json").write_text("{}")
    (sound / "extra").symlink_to("/etc/hostname")

    found = texts(sound)

    expected = ["does not define rerank", "extra is a link", "is empty", "config.json: "]
    expected += [r"tokenizer/: the tokenizer cannot be loaded \(.+\)"]
    assert len(found) == len(expected)
    for pattern in expected:
        assert any(re.search(pattern, text) for text in found), pattern
    assert not any("\n" in text for text in found)


def test_a_version_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    assert texts(tmp_path / "v1") == [f"{tmp_path}/v1 is not there; run: rerank-server pull v1"]


def test_a_name_outside_the_rule_is_a_problem(tmp_path: Path) -> None:
    assert "not a version name" in texts(tmp_path / "gemma", "gemma")[0]


@pytest.mark.process
def test_weights_the_server_takes_are_no_problem(sound: Path) -> None:
    (sound / "model" / "model.safetensors").rename(sound / "model" / "model.pt")

    assert texts(sound) == []


@pytest.mark.process
def test_a_model_folder_without_weights_is_a_problem(sound: Path) -> None:
    (sound / "model" / "model.safetensors").unlink()

    assert texts(sound) == ["no model files in model/; run: rerank-server pull v1"]


@pytest.mark.process
def test_weights_of_pytorch_need_their_config(sound: Path) -> None:
    (sound / "model" / "config.json").unlink()

    assert texts(sound) == ["no config.json in model/"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content[:-5], r"is \d+ bytes long, \d+ are described"),
        (lambda content: content[:20], "is cut off"),
        (lambda content: content[:4], "is cut off"),
        (lambda content: b"\x02" + bytes(7) + b"[]", "is not a safetensors file"),
        (lambda content: b"\x07" + bytes(7) + b'{"a":1}', "is not a safetensors file"),
    ],
)
def test_weights_that_are_not_whole_are_a_problem(
    sound: Path, change: object, problem: str
) -> None:
    assert callable(change)
    path = sound / "model" / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))

    (text,) = texts(sound)

    assert re.search(rf"^model/model.safetensors: .*{problem}", text)


@pytest.mark.process
def test_a_missing_shard_is_a_problem(sound: Path) -> None:
    model = sound / "model"
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))

    (text,) = texts(sound)
    assert text.startswith("model/model-00002-of-00002.safetensors is missing")

    (model / "model.safetensors.index.json").write_text("[]")
    (text,) = texts(sound)
    assert "is not an index of weights" in text


@pytest.mark.process
def test_requirements_that_are_not_installed_are_a_problem(sound: Path) -> None:
    (sound / "requirements.txt").write_text("tinylib\n")

    assert texts(sound) == ["its requirements are not installed; run: rerank-server install v1"]


@pytest.mark.process
def test_a_version_without_a_tokenizer_is_a_problem(sound: Path) -> None:
    (sound / "tokenizer" / "tokenizer.json").rename(sound / "tokenizer" / "else.json")
    (text,) = texts(sound)
    assert text.startswith("tokenizer/: the tokenizer cannot be loaded (")

    (sound / "tokenizer" / "else.json").unlink()
    assert texts(sound) == ["tokenizer/: it is empty; the tokenizer's files belong here"]


@pytest.mark.process
def test_a_version_of_nothing_but_code_is_sound(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "rerank.py").write_text(CODE)

    assert texts(tmp_path / "v1") == []
    (tmp_path / "v1" / "rerank.py").write_text("def rerank(q): ...")
    assert len(texts(tmp_path / "v1")) > 1


@pytest.mark.process
def test_the_weights_of_the_chosen_folder_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "v1" / "model_cpu").mkdir(parents=True)
    (tmp_path / "v1" / "rerank.py").write_text(CODE)

    found = [problem.text for problem in inspect_version("v1", tmp_path / "v1", "model_cpu")]

    assert "no model files in model_cpu/; run: rerank-server pull v1" in found
