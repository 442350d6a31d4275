import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from docs.generate.configuration import DOCUMENTED, SHIPPED, Told, told_keys
from rerank_server.config import Config, parse
from rerank_server.config_wording import ITEM, sections
from rerank_server.yaml_text import Document, Key, read

ROOT = Path(__file__).parents[2]
SEED = Path(__file__).with_name("seed.config.yaml")
SEED_GPU = Path(__file__).with_name("seed.config-gpu.yaml")

TOLD_KEYS = list(told_keys(SHIPPED.read_text()))


def uncommented(text: str) -> str:
    """Return the text with every key that stands commented out at its default set."""
    return "\n".join(
        f"{match['in']}{match['body']}"
        if (match := DOCUMENTED.match(line)) and match["mark"] == "#"
        else line
        for line in text.splitlines()
    )


def fields_of(model: type[BaseModel], key: Key) -> Iterator[tuple[Key, object]]:
    for name, field in model.model_fields.items():
        yield (*key, name), field.get_default(call_default_factory=True)


def model_keys() -> dict[Key, object]:
    """Return the default of each key of the model; a version's stand under v2-m3."""
    found: dict[Key, object] = {}
    for place, model in sections(Config).items():
        key: Key = tuple("v2-m3" if part == "*" else part for part in place if part != ITEM)
        found.update(fields_of(model, key))
    return found


def test_the_shipped_file_documents_every_key_of_the_model_and_nothing_else() -> None:
    told = [one.key for one in TOLD_KEYS]

    assert len(told) == len(set(told))
    assert set(told) == set(model_keys())


@pytest.mark.parametrize("one", TOLD_KEYS, ids=lambda one: str(one.key[-1]))
def test_the_default_told_in_the_shipped_file_is_the_model_s(one: Told) -> None:
    default = model_keys()[one.key]

    if isinstance(default, BaseModel):
        assert one.default is None
    elif default is PydanticUndefined:
        assert one.default == "required"
    else:
        written = read(one.default or "")
        assert isinstance(written, Document)
        assert written.value == default
        assert type(default) is not bool or type(written.value) is bool


@pytest.mark.parametrize("one", TOLD_KEYS, ids=lambda one: str(one.key[-1]))
def test_the_unit_of_a_quantity_is_told(one: Told) -> None:
    units = {"_s": "(seconds)", "_bytes": "(bytes)", "_mb": "(MB)", "_tokens": "(tokens)",
             "_docs": "(documents)", "_pairs": "(pairs)"}  # fmt: skip
    name = str(one.key[-1])

    assert all(unit in one.meaning for end, unit in units.items() if name.endswith(end))


def test_setting_every_key_to_its_told_default_changes_nothing() -> None:
    text = SHIPPED.read_text()

    every = uncommented(text)

    assert "\nserver:" in every
    assert parse(every, path="every") == parse(text, path="config.yaml")


def test_the_shipped_file_is_the_first_one_plus_comments_and_models_dir() -> None:
    lines = SHIPPED.read_text().splitlines()
    seed = SEED.read_text().splitlines()

    ours = [line for line in lines if line in seed or not line.lstrip().startswith("#")]

    assert [line for line in ours if line and line != "models_dir: ../models"] == [
        line for line in seed if line
    ]
    assert parse(SHIPPED.read_text(), path="x") == parse(SEED.read_text(), path="x").model_copy(
        update={"models_dir": "../models"}
    )


def test_the_first_file_loads_unchanged() -> None:
    config = parse(SEED.read_text(), path="seed.config.yaml")

    assert config.default_version == "v2-m3"
    assert [(name, version.enabled) for name, version in config.versions.items()] == [
        ("v2-m3", True),
        ("v2-gemma", False),
        ("v1", True),
    ]
    assert config.versions["v1"].description.startswith("兼容v1 API")
    assert config.effective_last_resort() == "v1"
    assert config.models_path(Path("/opt/bge-rerankers")) == Path("/opt/bge-rerankers")


def test_the_first_file_with_gpu_keys_loads_unchanged() -> None:
    version = parse(SEED_GPU.read_text(), path="seed.config-gpu.yaml").versions["v2-m3"]

    assert version.fallback_to_cpu
    assert version.gpu_memory_threshold_mb == 1500


def test_the_demo_file_enables_three_versions() -> None:
    config = parse((ROOT / "etc" / "demo.yaml").read_text(), path="demo.yaml")

    assert config.default_version == "v2-minilm"
    assert config.models_path(ROOT / "etc") == ROOT / "models"
    assert {name: version.enabled for name, version in config.versions.items()} == {
        "v1-bge-small": True,
        "v1-colbert": True,
        "v2-minilm": True,
    }
    assert all(version.description for version in config.versions.values())


def test_a_normal_file_is_read_within_20_ms() -> None:
    text = SHIPPED.read_text()

    def seconds() -> float:
        start = time.perf_counter()
        parse(text, path="config.yaml")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.02
