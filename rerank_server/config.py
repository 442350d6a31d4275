"""What config.yaml may say: frozen models with every key, its range and its default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION_NAME = r"^v\d+(\.\d+)?(-[a-z0-9]+([._-][a-z0-9]+)*)?$"
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
