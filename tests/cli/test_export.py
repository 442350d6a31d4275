"""`export` describes the API from the configuration alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from openapi_spec_validator import validate

from tests.cli.conftest import finished, program

CONFIG = """
default_version: v2-m3
versions:
  v2-m3: {description: "cross-encoder"}
  v1: {endpoint: /first}
  v9: {enabled: false}
server: {host: 0.0.0.0, port: 9000, max_docs: 7}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration whose versions have no files."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def export(config: Path, *words: str, **environ: str) -> tuple[int, str, list[str]]:
    """Run the verb where no server runs; return exit code, output, messages."""
    run_dir = config.parent / "run"
    done = finished(
        program("export", "--config", str(config), "--run-dir", str(run_dir), *words), environ
    )
    return done.code, "\n".join(done.out), done.err


def test_one_version_is_described_without_a_server(config: Path) -> None:
    code, out, messages = export(config, "--version", "v2-m3", "--format", "openapi")

    document = json.loads(out)
    validate(document)
    assert (code, messages) == (0, [])
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": "http://127.0.0.1:9000"}]
    assert "/rerank/v2-m3/v1/rerank" in document["paths"]
    assert not any(path.startswith("/first") for path in document["paths"])
    docs = document["components"]["schemas"]["NativeRequest"]["properties"]["docs"]
    assert docs["description"] == "At most 7."


def test_the_whole_server_lists_the_enabled_versions(config: Path) -> None:
    _, out, _ = export(config)

    paths = json.loads(out)["paths"]
    assert {"/rerank", "/rerank/v2-m3", "/first"} <= paths.keys()
    assert "/rerank/v9" not in paths


def test_a_file_in_yaml_says_the_same_without_anchors(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "api.yaml"

    code, out, _ = export(config, "--version", "v1", "--yaml", "-o", str(file))
    _, as_json, _ = export(config, "--version", "v1")

    assert (code, out) == (0, "")
    assert yaml.safe_load(file.read_text()) == json.loads(as_json)
    assert "&id" not in file.read_text()


def test_the_url_clients_will_use_may_be_given(config: Path) -> None:
    _, out, _ = export(config, "--url", "https://rerank.example")

    assert json.loads(out)["servers"] == [{"url": "https://rerank.example"}]


@pytest.mark.parametrize(
    ("environ", "keys_file", "is_guarded"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"RERANK_SERVER_API_KEYS": "a-key-of-16-chars"}, False, True),
    ],
)
def test_keys_of_the_file_and_of_the_environment_are_described(
    config: Path, environ: dict[str, str], keys_file: bool, is_guarded: bool
) -> None:
    if keys_file:
        config.write_text(CONFIG.replace("port: 9000", "port: 9000, api_keys_file: keys"))

    _, out, _ = export(config, **environ)

    document = json.loads(out)
    validate(document)
    assert ("security" in document) == is_guarded
    assert ("securitySchemes" in document["components"]) == is_guarded
    assert "a-key-of-16-chars" not in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--version", "v2-m4"), 2, "did you mean v2-m3?"),
        (("--version", "zzz"), 2, "there are: v2-m3, v1, v9"),
        (("--format", "protobuf"), 2, "protobuf"),
        (("-o", "/nowhere/api.json"), 1, "/nowhere/api.json: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line(config: Path, words: tuple[str, ...], code: int, said: str) -> None:
    found, out, messages = export(config, *words)

    assert (found, out) == (code, "")
    assert said in messages[0]
