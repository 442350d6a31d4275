"""From an empty directory to a scored request, by what pip installed and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from rerank_server import __version__
from tests.catalog.conftest import Index
from tests.catalog.hub_server import FakeHub, served
from tests.families.tiny import torch_version
from tests.packaging.conftest import Installation

pytestmark = [pytest.mark.env, pytest.mark.process]

PLAIN = """\
import sys
import rerank_workers, tinylib
print("workers from", rerank_workers.__file__, file=sys.stderr)

def rerank(query, docs):
    return [tinylib.SCORE for _ in docs]
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Someone in a directory of their own, with an installation and no checkout."""

    installation: Installation
    here: Path

    def types(self, *words: str, code: int = 0, **environ: str) -> list[str]:
        """Run `rerank-server WORDS` here and return what it printed."""
        done = self.installation.run(
            "rerank-server",
            *words,
            cwd=self.here,
            RERANK_SERVER_RUN_DIR=str(self.here / "run"),
            RERANK_SERVER_STATE_DIR=str(self.here / "state"),
            RERANK_SERVER_CONFIG="etc/config.yaml",
            **environ,
        )
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.splitlines()


@pytest.fixture
def person(installation: Installation, short_dir: Path) -> Iterator[Person]:
    person = Person(installation, short_dir)
    yield person
    if (short_dir / "run").exists():
        installation.run(
            "rerank-server", "stop", "--run-dir", str(short_dir / "run"), cwd=short_dir
        )


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    """A hub with the repository of v2-m3; its weights are tiny and random."""
    made = torch_version(tmp_path / "tiny", "XLMRobertaForSequenceClassification")
    files = {p.name: p.read_bytes() for d in ("model", "tokenizer") for p in (made / d).iterdir()}
    with served(FakeHub(repo="BAAI/bge-reranker-v2-m3", files=files)) as hub:
        yield hub


def test_from_an_empty_directory_to_a_scored_request(
    person: Person, hub: FakeHub, short_dir: Path
) -> None:
    index = Index(short_dir / "index")
    index.directory.mkdir()
    index.add("tinylib", {"tinylib.py": b"SCORE = 0.25\n"})

    # A configuration to start from, a version from a hub, a version of one's own code.
    assert person.types("--version") == [f"rerank-server {__version__}"]
    assert person.types("init", "--config") == ["etc/config.yaml"]
    assert person.types("pull", "v2-m3", HF_ENDPOINT=hub.url) == ["pulled: v2-m3"]
    own = short_dir / "models" / "v1"
    own.mkdir()
    (own / "rerank.py").write_text(PLAIN)
    (own / "requirements.txt").write_text(f"--no-index\n--find-links {index.directory}\ntinylib\n")

    # The whole life of a server.
    person.types("start", "--port", "0")
    states = [line.partition(" (")[0] for line in person.types("status")]
    assert {"v2-m3: RUNNING", "v1: RUNNING"} <= set(states), "\n".join(person.types("status", "-v"))
    url = json.loads("\n".join(person.types("status", "--json")))["url"]
    asked = {"query": "which jet", "docs": ["the comet", "boeing"]}
    for version in ("v2-m3", "v1"):
        answer = httpx.post(f"{url}/rerank/{version}", json=asked, timeout=20).json()
        assert (answer["version"], answer["fallback"]) == (version, None)
        assert all(0 <= score <= 1 for score in answer["scores"])
    assert answer["scores"] == [0.25, 0.25]
    workers = person.installation.packages / "rerank_workers" / "__init__.py"
    assert f"workers from {workers}" in "\n".join(person.types("logs", "v1"))
    person.types("reload")
    person.types("stop")

    person.types("status", code=4)
