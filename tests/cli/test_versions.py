"""The verbs `init`, `pull` and `install`, as a person types them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from rerank_server.config import parse
from tests.catalog.conftest import Index
from tests.catalog.hub_server import FakeHub, served
from tests.cli.conftest import Done, finished, program

CONFIG = {"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "L"}}
FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": b"w" * 1000,
    "tokenizer.json": b"{}",
}


def verb(place: Path, *arguments: str, **environ: str) -> Done:
    """Run a verb with `place` as the working directory."""
    code = (
        "import os, sys\n"
        "from rerank_server.__main__ import main\n"
        "os.chdir(sys.argv[1])\n"
        "main(sys.argv[2:])\n"
    )
    command = [program()[0], "-c", code, str(place), *arguments]
    return finished(command, {"RERANK_SERVER_CONFIG": "", **environ})


def pip(index: Path) -> dict[str, str]:
    """Return an environment in which pip knows this directory only."""
    return {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}


# --- init -----------------------------------------------------------------------------------


def test_init_config_writes_one_that_loads_and_never_over_another(tmp_path: Path) -> None:
    assert verb(tmp_path, "init", "--config") == Done(
        0, ["etc/config.yaml"], ["next: rerank-server pull v2-m3 v1, then rerank-server start"]
    )

    text = (tmp_path / "etc" / "config.yaml").read_text()
    assert parse(text, path="x").default_version == "v2-m3"
    assert verb(tmp_path, "init", "--config") == Done(
        1, [], ["error: etc/config.yaml exists; it was left as it is"]
    )


def test_init_config_takes_a_path_and_the_demo(tmp_path: Path) -> None:
    done = verb(tmp_path, "init", "--config", "--demo", "here/demo.yaml")

    config = parse((tmp_path / "here" / "demo.yaml").read_text(), path="x")
    assert config.default_version == "v2-minilm"
    assert done.err == [
        f"next: rerank-server pull {' '.join(config.versions)} --config here/demo.yaml, "
        "then rerank-server start --config here/demo.yaml"
    ]


def test_init_of_a_zip_makes_a_version_and_says_what_to_add(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bge.zip", "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"bge/{name}", content)

    done = verb(tmp_path, "init", "v2-gemma", "--from", "bge.zip", "--models-dir", "models")

    assert done.code == 0
    assert done.out == [
        f"{tmp_path}/models/v2-gemma",
        "add to config.yaml:",
        "versions:",
        "  v2-gemma:",
        "    enabled: true",
        '    description: ""',
        '    endpoint: "/rerank/v2-gemma"',
    ]
    assert "v2-gemma: rerank.py was made from the cross_encoder template" in done.err
    made = tmp_path / "models" / "v2-gemma"
    assert sorted(path.name for path in made.iterdir()) == ["model", "rerank.py", "tokenizer"]


def test_init_of_a_configured_version_goes_where_its_config_says(tmp_path: Path) -> None:
    verb(tmp_path, "init", "--config")

    done = verb(tmp_path, "init", "v1")

    assert (done.code, done.out) == (0, [f"{tmp_path}/models/v1"])
    assert "v1: put the weights into model/ and the tokenizer into tokenizer/" in done.err


def test_init_of_a_corrupt_zip_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 and no more")

    done = verb(tmp_path, "init", "v3", "--from", "bad.zip", "--models-dir", "models")

    assert (done.code, done.out, len(done.err)) == (1, [], 1)
    assert done.err[0].startswith("error: bad.zip")
    assert not list((tmp_path / "models").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing argument NAME"),
        (["v1", "--demo"], "--demo goes with --config"),
        (["--config", "v1"], "--config: v1 does not end in .yaml"),
        (["--config", "--from", "x"], "--config goes with a PATH and --demo only"),
    ],
)
def test_init_of_what_does_not_fit_together_is_a_usage_error(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = verb(tmp_path, "init", *arguments)

    assert (done.code, done.out, done.err[0]) == (2, [], f"error: {said}")
    assert not list(tmp_path.iterdir())


def test_init_of_a_name_outside_the_rule_is_one_line(tmp_path: Path) -> None:
    done = verb(tmp_path, "init", "gemma", "--models-dir", "models")

    assert done == Done(
        1, [], ["error: 'gemma' is not a version name; names look like v1 or v2-m3"]
    )


# --- pull -----------------------------------------------------------------------------------


def test_pull_of_any_repository_makes_a_version(tmp_path: Path) -> None:
    with served(FakeHub(files=FILES)) as hub:
        done = verb(
            tmp_path, "pull", "v9-x", "--repo", "org/model", "--revision", "v1.0",
            "--models-dir", "models", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0",
        )  # fmt: skip

    assert (done.code, done.out) == (0, ["pulled: v9-x"])
    assert (tmp_path / "models" / "v9-x" / "model" / "model.safetensors").stat().st_size == 1000


def test_pull_asks_the_hub_it_is_told(tmp_path: Path) -> None:
    pull = ("pull", "v1", "--models-dir", "models", "--source")

    done = verb(tmp_path, *pull, "modelscope", MODELSCOPE_DOMAIN="127.0.0.1:9")

    assert done.code == 1
    assert done.err[0].startswith("error: BAAI/bge-reranker-base: ModelScope cannot be reached")
    assert verb(tmp_path, *pull, "gitlab").code == 2


def test_pull_without_a_network_is_one_line_and_leaves_no_version(tmp_path: Path) -> None:
    done = verb(
        tmp_path, "pull", "v2-m3", "--models-dir", "models", HF_ENDPOINT="http://127.0.0.1:9"
    )

    assert (done.code, done.out, len(done.err)) == (1, [], 1)
    assert not list((tmp_path / "models").glob("v*"))


# --- install --------------------------------------------------------------------------------


def version(place: Path, name: str, requirements: str | None) -> Path:
    directory = place / "models" / name
    directory.mkdir(parents=True)
    (directory / "rerank.py").write_text("def rerank(query, docs): ...\n")
    if requirements is not None:
        (directory / "requirements.txt").write_text(requirements)
    return directory


@pytest.mark.process
def test_install_builds_what_is_missing_and_says_each_failure(tmp_path: Path) -> None:
    index = Index(tmp_path / "index")
    index.directory.mkdir()
    index.add("tinylib", {"tinylib.py": b"__version__ = '1.0'\n"})
    version(tmp_path, "v1", "tinylib==1.0\n")
    version(tmp_path, "v2", "tinylib==7.0\n")
    version(tmp_path, "v3", None)

    def install(*names: str) -> Done:
        return verb(tmp_path, "install", *names, "--models-dir", "models", **pip(index.directory))

    done = install("v2", "v1", "v3")

    assert (done.code, done.out) == (1, ["installed: v1", "kept: v3"])
    assert [line for line in done.err if line.startswith("error: ")] == [
        "error: v2: requirements.txt: Could not find a version that satisfies the requirement "
        "tinylib==7.0 (from versions: 1.0) | No matching distribution found for tinylib==7.0"
    ]
    assert install("v1").out == ["kept: v1"]


def test_install_of_a_version_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    done = verb(tmp_path, "install", "v5", "--models-dir", "models")

    assert done == Done(
        1, [], [f"error: {tmp_path}/models/v5 is not there; run: rerank-server pull v5"]
    )
