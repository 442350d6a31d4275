"""The verbs that need no server, given a version that has no files: a cascade."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Done, finished, program

RERANK = "def rerank(query, docs):\n    return [0.9 - 0.1 * i for i in range(len(docs))]\n"
CONFIG = """\
default_version: v2-fast
models_dir: models
versions:
  v2-fast: {cascade: [{version: v1, keep: 2}, {version: v2-prod}], fallback: v2-prod}
  v1: {}
  v2-prod: {source: v2}
server: {port: 0}
"""

pytestmark = pytest.mark.process


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a place with a cascade and the files of its stages."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    for name in ("v1", "v2"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "rerank.py").write_text(RERANK)
    return tmp_path


def verb(place: Path, *words: str, is_placed: bool = True) -> Done:
    run_dir = ("--run-dir", str(place / "run")) if is_placed else ()
    return finished(program(*words, "--config", str(place / "config.yaml"), *run_dir))


def test_check_wants_no_files_of_a_cascade(place: Path) -> None:
    done = verb(place, "check")

    assert done.code == 0
    assert done.out[1:] == ["v2-fast: good", "v1: good", "v2-prod: good"]


def test_check_says_which_stages_a_cascade_waits_for(place: Path) -> None:
    (place / "models" / "v1" / "rerank.py").unlink()

    done = verb(place, "check")

    assert done.code == 1
    assert done.out[1:] == ["v2-fast: waits for v1", "v2-prod: good"]
    assert all(line.startswith("error: v1: ") for line in done.err)


def test_install_means_the_stages_directories(place: Path) -> None:
    assert verb(place, "install", "v2-fast", is_placed=False) == Done(0, ["kept: v1, v2"], [])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["pull", "v2-fast"], "has no files; name its stages: v1, v2-prod"),
        (["optimize", "v2-fast"], "has no model; name one of its stages: v1, v2-prod"),
    ],
)
def test_what_makes_files_is_refused_with_the_stages_names(
    place: Path, words: list[str], why: str
) -> None:
    done = verb(place, *words, is_placed=False)

    assert done == Done(2, [], [f"error: v2-fast is a cascade and {why}"])
    assert not (place / "models" / "v2-fast").exists()


def test_init_makes_no_directory_for_a_cascade(place: Path) -> None:
    made = finished(
        program("init", "v2-fast"), {"RERANK_SERVER_CONFIG": str(place / "config.yaml")}
    )

    assert made.code == 2
    assert "v2-fast is a cascade and has no files" in made.err[0]


def test_config_shows_only_the_keys_that_mean_something(place: Path) -> None:
    lines = verb(place, "config").out
    ours = lines[lines.index("  v2-fast:") + 1 : lines.index("  v1:")]
    keys = [line.strip().partition(":")[0] for line in ours]

    assert {"enabled", "endpoint", "fallback", "max_docs", "cascade"} <= set(keys)
    assert not {"device", "replicas", "batch_size", "env", "source"} & set(keys)
    assert any('[{"version": "v1", "keep": 2}, {"version": "v2-prod"}]' in line for line in ours)


def test_export_describes_the_stages(place: Path) -> None:
    described = json.loads("\n".join(verb(place, "export", "--version", "v2-fast").out))

    assert "v2-fast is a cascade: v1:2 > v2-prod." in described["info"]["description"]
