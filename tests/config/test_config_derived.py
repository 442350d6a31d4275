import json
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from rerank_server.config import Config, InferenceConfig, VersionConfig, is_version_name, parse


def config_of(versions: str, more: str = "") -> Config:
    return parse(f"default_version: v2\n{more}\nversions:\n  v2: {{}}\n{versions}", path="x")


def test_a_version_answers_under_its_endpoint_or_its_name() -> None:
    config = config_of("  v3: {endpoint: /mine}\n")

    assert config.endpoint_of("v2") == "/rerank/v2"
    assert config.endpoint_of("v3") == "/mine"


def test_a_version_runs_its_own_files_or_those_of_its_source() -> None:
    config = config_of("  v2-prod: {source: v2}\n  v3: {source: v2-not-configured}\n")

    assert config.source_of("v2") == "v2"
    assert config.source_of("v2-prod") == "v2"
    assert config.source_of("v3") == "v2-not-configured"


def test_a_version_s_own_inference_parameters_win_over_the_shared_ones() -> None:
    config = config_of(
        "  v3: {batch_size: 4, use_fp16: false}\n", "global_config: {batch_size: 8, max_length: 99}"
    )

    assert config.inference_of("v2") == InferenceConfig(batch_size=8, max_length=99)
    assert config.inference_of("v3") == InferenceConfig(batch_size=4, max_length=99, use_fp16=False)


def test_every_shared_inference_parameter_may_be_set_per_version() -> None:
    own = get_type_hints(VersionConfig, include_extras=True)
    shared = get_type_hints(InferenceConfig, include_extras=True)

    for key in InferenceConfig.model_fields:
        assert own[key] == shared[key] | None
        assert VersionConfig.model_fields[key].default is None


@pytest.mark.parametrize(
    ("versions", "more", "last"),
    [
        ("  v1: {}\n  v1-a: {}\n", "", "v1"),
        ("  v1-a: {}\n  v1: {}\n", "", "v1-a"),
        ("  v1: {enabled: false}\n  v1-a: {}\n", "", "v1-a"),
        ("  v10: {}\n  v1.5: {}\n", "", None),
        ("", "", None),
        ("  v1: {}\n", "last_resort: none", None),
        ("  v1: {}\n", "last_resort: v2", "v2"),
    ],
)
def test_the_last_resort_is_the_configured_one_or_the_first_enabled_v1(
    versions: str, more: str, last: str | None
) -> None:
    assert config_of(versions, more).effective_last_resort() == last


@pytest.mark.parametrize(
    ("models_dir", "path"),
    [
        (".", "/opt/bge-rerankers"),
        ("../models", "/opt/models"),
        ("models", "/opt/bge-rerankers/models"),
        ("/srv/m", "/srv/m"),
    ],
)
def test_the_models_directory_is_relative_to_the_file(models_dir: str, path: str) -> None:
    config = config_of("", f"models_dir: {models_dir}")

    assert config.models_path(Path("/opt/bge-rerankers")) == Path(path)


@pytest.mark.parametrize(
    "name", ["v1", "v2-m3", "v2-m3-prod", "v2.5-gemma2-lightweight", "v1-a.b_c"]
)
def test_version_names_that_follow_the_rule(name: str) -> None:
    assert is_version_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "none", "v", "1", "V1", "v1-", "v1--a", "v1-A", "v1/..", "..", "v1\n", "v\u0661", "v1 ",
     "v1-é", "v1-" + "a" * 61],
)  # fmt: skip
def test_version_names_that_break_the_rule(name: str) -> None:
    assert not is_version_name(name)


def test_a_section_whose_keys_are_all_commented_out_has_its_defaults() -> None:
    config = config_of("  v3:\n  v4: {preprocess: }\n", "server:\nglobal_config:")

    assert config == config_of("  v3: {}\n  v4: {}\n")


def test_variables_that_nobody_else_decides_may_be_set() -> None:
    env = {"OMP_NUM_THREADS": "2", "LD_PRELOAD": "/usr/lib/libjemalloc.so", "_x": "on"}

    config = config_of(f"  v3: {{env: {json.dumps(env)}}}\n")

    assert config.versions["v3"].env == env


def test_a_version_may_take_longer_pairs_when_its_batches_do() -> None:
    config = config_of("  v3: {max_length: 9000, max_batch_tokens: 9000}\n")

    assert config.inference_of("v3").max_length == 9000


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "localhost", "gpu-1.example.org"])
def test_addresses_and_host_names_are_taken(host: str) -> None:
    assert config_of("", f"server: {{host: '{host}'}}").server.host == host


def test_importing_the_config_loads_nothing_but_pydantic_and_yaml() -> None:
    allowed = {
        "annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection",
        "yaml", "cython_runtime", "rerank_server",
    }  # fmt: skip
    code = (
        "import sys; before = set(sys.modules); import rerank_server.config;"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )

    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True)

    loaded = {name for name in run.stdout.decode().split() if not name.startswith("_")}
    assert loaded - sys.stdlib_module_names <= allowed
