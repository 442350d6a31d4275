"""The pages people follow, followed to the letter."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rerank_server.catalog.starting_config import write_config
from rerank_server.config import parse
from tests.conftest import ROOT
from tests.e2e.conftest import SEED_CONFIG
from tests.e2e.document import Reader, blocks
from tests.process.server import Server

pytestmark = [pytest.mark.process, pytest.mark.weights]

CHINESE = ROOT / "docs" / "README.zh.md"
Follow = Callable[..., Reader]


@pytest.fixture
def reader(short_dir: Path, free_port: int) -> Iterator[Follow]:
    """Make a reader of a page; the server they start never outlives the test."""
    made: list[Reader] = []

    def follow(config: str) -> Reader:
        made.append(Reader(short_dir, free_port, config))
        return made[-1]

    yield follow
    for one in made:
        one.close()


def test_the_chinese_walk(
    bge_rerankers: Server, gemma_zip: Path, demo_models: Path, reader: Follow
) -> None:
    root = bge_rerankers.root
    shutil.copytree(demo_models / "v1-bge-small", root / "my-finetuned-model")

    reader(str(bge_rerankers.config_path)).carries_out(CHINESE)

    assert (root / "openapi.json").is_file()


def test_the_chinese_page_shows_configurations_that_hold() -> None:
    whole, part = (block.text for block in blocks(CHINESE.read_text()) if block.kind == "yaml")

    assert parse(whole, path="x") == parse(SEED_CONFIG.read_text(), path="x")
    assert parse(f"default_version: v2-m3\nversions:\n{part}", path="x").versions["v2-m3"].enabled


@pytest.mark.parametrize("page", ["quickstart.md", "writing-a-rerank.md", "operations.md"])
def test_an_english_page(page: str, short_dir: Path, demo_models: Path, reader: Follow) -> None:
    shutil.copytree(demo_models, short_dir / "models")
    shutil.make_archive(str(short_dir / "fine-tuned"), "zip", demo_models / "v1-colbert")
    if page != "quickstart.md":
        write_config(short_dir / "etc" / "config.yaml", is_demo=True)

    reader("etc/config.yaml").carries_out(ROOT / "docs" / page)
