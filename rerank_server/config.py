"""What config.yaml may say: frozen models with every key, its range and its default."""

from __future__ import annotations

import os.path
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError

from rerank_server import (
    config_cascade,
    config_rules,
    config_traffic,
    config_wording,
    yaml_text,
)
from rerank_server.config_section import Section
from rerank_server.config_traffic import MirrorConfig, RolloutConfig, Shares, StageConfig
from rerank_server.errors import ConfigError
from rerank_server.names import (
    DEVICE,
    NONE,
    ORIGIN,
    VERSION_NAME,
    default_endpoint,
    is_version_name,
)
from rerank_server.yaml_text import Key, Problem

__all__ = [
    "NONE",
    "VERSION_NAME",
    "Config",
    "InferenceConfig",
    "MirrorConfig",
    "PreprocessConfig",
    "RolloutConfig",
    "ServerConfig",
    "StageConfig",
    "VersionConfig",
    "is_version_name",
    "parse",
]

Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Device = Annotated[str, Field(pattern=DEVICE)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
MaxLength = Annotated[int, Field(ge=8, le=131_072)]
ProtectedPage = Literal["/versions", "/metrics", "/docs", "/openapi.json"]
BodyBytes = Annotated[int, Field(ge=1, le=134_217_728)]
InFlightBytes = Annotated[int, Field(ge=1, le=1 << 40)]
MaxBatchTokens = Annotated[int, Field(ge=8, le=16_777_216)]


class PreprocessConfig(Section):
    """Cleaning of query and documents before they are encoded."""

    clean: bool = False


class InferenceConfig(Section):
    """Inference parameters shared by all enabled versions; a version may override them."""

    batch_size: BatchSize = 16
    max_length: MaxLength = 512
    use_fp16: bool = True
    max_batch_tokens: MaxBatchTokens = 8192


class VersionConfig(Section):
    """One version: which files, where it runs, who answers when it cannot."""

    enabled: bool = True
    description: str = ""
    endpoint: str | None = None
    source: str | None = None
    fallback: str | None = None
    device: Device = "auto"
    cpu_model: Literal["auto", "model", "model_cpu"] = "auto"
    fallback_to_cpu: bool = False
    gpu_memory_threshold_mb: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    gpu_memory_mb: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    batch_size: BatchSize | None = None
    max_length: MaxLength | None = None
    use_fp16: bool | None = None
    max_batch_tokens: MaxBatchTokens | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    env: dict[str, str] = Field(default_factory=dict)
    start_timeout_s: Seconds = 300.0
    max_batch_s: Seconds = 120.0
    max_queued_pairs: Positive = 20_000
    request_timeout_s: Seconds | None = None
    max_body_bytes: BodyBytes | None = None
    max_docs: Positive | None = None
    max_doc_chars: Positive | None = None
    max_concurrent_requests: Positive | None = None
    max_in_flight_bytes: InFlightBytes | None = None
    replace: Literal["auto", "overlap", "stop_first"] = "auto"
    long_docs: Literal["truncate", "chunk"] = "truncate"
    preprocess: PreprocessConfig = PreprocessConfig()
    cascade: list[StageConfig] | None = None


class ServerConfig(Section):
    """The HTTP gateway and the supervisor."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    gateway_processes: Annotated[int, Field(ge=1, le=256)] = 1
    request_timeout_s: Seconds = 60.0
    head_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    keep_alive_s: Seconds = 30.0
    drain_timeout_s: Seconds = 65.0
    stop_timeout_s: Seconds = 90.0
    shutdown_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    max_body_bytes: BodyBytes = 33_554_432
    max_docs: Positive = 10_000
    max_doc_chars: Positive = 1_000_000
    max_concurrent_requests: Positive = 1_000
    max_in_flight_bytes: InFlightBytes = 268_435_456
    max_queued_pairs: Positive = 200_000
    max_head_bytes: Annotated[int, Field(ge=256, le=16_777_216)] = 65_536
    max_connections: Positive = 10_000
    api_keys_file: Annotated[str, Field(min_length=1)] | None = None
    protect: list[ProtectedPage] = Field(default_factory=lambda: [*get_args(ProtectedPage)])
    cors_origins: list[Annotated[str, Field(pattern=ORIGIN)]] = Field(default_factory=list)
    access_log: bool = True
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    gpu_pressure_after_s: Seconds = 3.0
    gpu_recover_after_s: Seconds = 60.0
    gpu_recover_margin_mb: Annotated[int, Field(ge=0, le=10_000_000)] = 512
    gpu_cool_down_s: Seconds = 10.0
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section):
    """The whole of config.yaml, checked."""

    default_version: str
    versions: dict[str, VersionConfig]
    global_config: InferenceConfig = InferenceConfig()
    models_dir: str = "."
    last_resort: str | None = None
    traffic: Shares = Field(default_factory=dict)
    mirror: MirrorConfig | None = None
    rollout: RolloutConfig | None = None
    server: ServerConfig = ServerConfig()

    def endpoint_of(self, name: str) -> str:
        """Return the path prefix under which the version `name` answers."""
        return self.versions[name].endpoint or default_endpoint(name)

    def source_of(self, name: str) -> str:
        """Return the name of the directory whose files the version `name` runs."""
        return self.versions[name].source or name

    def inference_of(self, name: str) -> InferenceConfig:
        """Return the inference parameters of the version `name`: its own over the shared ones."""
        version = self.versions[name]
        own = {key: getattr(version, key) for key in InferenceConfig.model_fields}
        return self.global_config.model_copy(
            update={key: value for key, value in own.items() if value is not None}
        )

    def effective_last_resort(self) -> str | None:
        """Return the version asked when all else fails, or None.

        Unless configured it is the first enabled version named `v1` or `v1-...` that has a process
        of its own.
        """
        if self.last_resort is not None:
            return None if self.last_resort == NONE else self.last_resort
        first = (
            name
            for name, version in self.versions.items()
            if version.enabled
            and version.cascade is None
            and (name == "v1" or name.startswith("v1-"))
        )
        return next(first, None)

    def models_path(self, config_directory: Path) -> Path:
        """Return the directory that holds the version directories; touches no file.

        `config_directory` is the absolute, link-free directory of the config file.
        """
        return Path(os.path.normpath(config_directory / self.models_dir))


_SECTIONS = config_wording.sections(Config)


def parse(text: str, *, path: str) -> Config:
    """Read and check the text of a config file; `path` only names it in messages.

    Raises:
        ConfigError: with every problem found, each `path:line: key: what is wrong`.
    """
    document = yaml_text.read(text)
    if isinstance(document, Problem):
        raise ConfigError([document.at(path)])
    config, problems = _check(document)
    if config is None or problems:
        ordered = sorted(problems, key=lambda problem: problem.line)
        raise ConfigError([problem.at(path) for problem in ordered])
    return config


def _check(document: yaml_text.Document) -> tuple[Config | None, list[Problem]]:
    """Return the config, or as much as is needed to find all problems, and the problems."""
    problems = list(document.problems)
    value = document.value
    if not isinstance(value, dict):
        return None, [*problems, document.problem((), _not_a_mapping(value))]
    config: Config | None
    faulty: set[Key] = set()
    try:
        config = Config.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        found = [config_wording.explain(one, _SECTIONS) for one in errors]
        problems += [document.problem(key, text) for key, text in found]
        faulty = {key for key, _ in found}
        config = _without(value, faulty)
    if config is not None:
        rules = (
            *config_rules.faults(config),
            *config_traffic.faults(config),
            *config_cascade.faults(config),
        )
        problems += [document.problem(key, text) for key, text in rules if key not in faulty]
    return config, problems


def _not_a_mapping(value: object) -> str:
    if value is None:
        return "the file is empty; it needs at least default_version and versions"
    return (
        f"must be a mapping of keys ('key: value', a space after the ':'), "
        f"not {yaml_text.shown(value)}"
    )


def _without(value: Mapping[str, object], faulty: Collection[Key]) -> Config | None:
    """Return the config that is left without the faulty keys, for the rules between keys.

    What lacks a key that must be there goes, too: as much around it as is needed.
    """
    while True:
        left = {"default_version": "", "versions": None} | _pruned(value, (), faulty)
        if not isinstance(left["versions"], dict):
            return None
        try:
            return Config.model_validate(left)
        except ValidationError as error:
            around = {one["loc"][:-1] for one in error.errors(include_url=False)}
        if () in around or around <= set(faulty):
            return None
        faulty = {*faulty, *around}


def _pruned(value: Mapping[str, object], key: Key, faulty: Collection[Key]) -> dict[str, object]:
    left: dict[str, object] = {}
    for name, item in value.items():
        own = (*key, name)
        if own in faulty:
            if key == ("versions",):
                left[name] = {}  # still a name that others may refer to
        elif isinstance(item, dict):
            left[name] = _pruned(item, own, faulty)
        elif not isinstance(item, list) or all(one[: len(own)] != own for one in faulty):
            left[name] = item
    return left
