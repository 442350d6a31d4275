"""What config.yaml may say: frozen models with every key, its range and its default."""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rerank_server.errors import ConfigError

VERSION_NAME = r"^v[0-9]+(\.[0-9]+)?(-[a-z0-9]+([._-][a-z0-9]+)*)?$"
NONE = "none"
"""The word that switches a fallback off."""

Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PreprocessConfig(_Section):
    """Cleaning of query and documents before they are encoded."""

    clean: bool = False


class InferenceConfig(_Section):
    """Inference parameters shared by all enabled versions; a version may override them."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    max_length: Annotated[int, Field(ge=8, le=131_072)] = 512
    use_fp16: bool = True
    max_batch_tokens: Annotated[int, Field(ge=8)] = 8192


class VersionConfig(_Section):
    """One version: which files, where it runs, who answers when it cannot."""

    enabled: bool = True
    description: str = ""
    endpoint: str | None = None
    source: str | None = None
    fallback: str | None = None
    device: Device = "auto"
    cpu_model: Literal["auto", "model", "model_cpu"] = "auto"
    fallback_to_cpu: bool = False
    gpu_memory_threshold_mb: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    max_length: Annotated[int, Field(ge=8, le=131_072)] | None = None
    use_fp16: bool | None = None
    max_batch_tokens: Annotated[int, Field(ge=8)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    env: dict[str, str] = Field(default_factory=dict)
    start_timeout_s: Seconds = 300.0
    max_batch_s: Seconds = 120.0
    max_queued_pairs: Positive = 20_000
    replace: Literal["auto", "overlap", "stop_first"] = "auto"
    preprocess: PreprocessConfig = PreprocessConfig()


class ServerConfig(_Section):
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
    max_body_bytes: Positive = 33_554_432
    max_docs: Positive = 10_000
    max_head_bytes: Positive = 65_536
    max_connections: Positive = 10_000
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Config(_Section):
    """The whole of config.yaml, checked."""

    default_version: str
    versions: dict[str, VersionConfig]
    global_config: InferenceConfig = InferenceConfig()
    models_dir: str = "."
    last_resort: str | None = None
    server: ServerConfig = ServerConfig()

    def endpoint_of(self, name: str) -> str:
        """Return the path prefix under which the version `name` answers."""
        return self.versions[name].endpoint or f"/rerank/{name}"

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

        Unless configured it is the first enabled version named `v1` or `v1-...`.
        """
        if self.last_resort is not None:
            return None if self.last_resort == NONE else self.last_resort
        first = (
            name
            for name, version in self.versions.items()
            if version.enabled and (name == "v1" or name.startswith("v1-"))
        )
        return next(first, None)

    def models_path(self, config_directory: Path) -> Path:
        """Return the directory that holds the version directories; touches no file.

        `config_directory` is the absolute, link-free directory of the config file.
        """
        return Path(os.path.normpath(config_directory / self.models_dir))


def is_version_name(name: str) -> bool:
    """Tell whether `name` follows the rule for version names and their directories."""
    return len(name) <= 63 and re.fullmatch(VERSION_NAME, name) is not None


def parse(text: str, *, path: str) -> Config:
    """Read and check the text of a config file; `path` only names it in messages.

    Raises:
        ConfigError: with every problem found, each `path:line: key: what is wrong`.
    """
    try:
        return Config.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
