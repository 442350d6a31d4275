"""The seed's machine, /opt/bge-rerankers, with demo weights for those that cannot be had."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.server import Server

STAND_INS = {"v2-m3": "v2-minilm", "v1": "v1-bge-small"}
SEED_CONFIG = Path(__file__).parent.parent / "config" / "seed.config.yaml"


@pytest.fixture
def bge_rerankers(demo_models: Path, short_dir: Path) -> Iterator[Server]:
    """Return a server over a directory laid out as the seed shows it, not started."""
    server = Server(short_dir)
    for name, stand_in in STAND_INS.items():
        shutil.copytree(demo_models / stand_in, short_dir / name)
    (short_dir / "v2-gemma").mkdir()
    shutil.copyfile(SEED_CONFIG, server.config_path)
    yield server
    server.close()


@pytest.fixture
def gemma_zip(demo_models: Path, short_dir: Path) -> Path:
    """Return the archive an operator got from the model's authors."""
    made = shutil.make_archive(
        str(short_dir / "bge-reranker-v2-gemma"), "zip", demo_models / "v1-colbert"
    )
    return Path(made)
