"""From the config file on disk to what is wanted: reads it, and looks at the versions' files."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rerank_server.config import Config, ServerConfig, StageConfig, parse
from rerank_server.config_rules import NARROWED
from rerank_server.core.access import Access
from rerank_server.core.front import FrontSpec
from rerank_server.core.limits import Limits, VersionLimits
from rerank_server.core.traffic import Arm, Mirror, Stage, Traffic
from rerank_server.core.wanted import Wanted, WantedVersion, WorkerSpec
from rerank_server.errors import ConfigError
from rerank_server.supervisor.keys import read_keys
from rerank_server.supervisor.version_files import examine, interpreter
from rerank_server.supervisor.wishes import wish_of

_NO_EPOCHS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says over the config file."""

    models_dir: Path | None = None
    host: str | None = None
    port: int | None = None
    api_keys: str | None = None
    """API keys of the environment; as they were when the server started."""


@dataclass(frozen=True, slots=True)
class Desired:
    """One accepted config, and all that follows from it."""

    config: Config
    text: str
    models_dir: Path
    wanted: Wanted
    front: FrontSpec
    limits: Limits
    access: Access
    traffic: Traffic
    """As the config has it; an operator's word and a rollout come before it."""
    mirror: Mirror | None


def read_config(path: Path) -> tuple[Config, str]:
    """Read and check the config file.

    Raises:
        ConfigError: it cannot be read, or is not valid; the message has every problem.
    """
    try:
        if path.is_fifo():  # to open it would block for ever, and with it the whole supervisor
            raise ConfigError(f"{path}: is a pipe; it must be a file, to be read again later")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    return parse(text, path=str(path)), text


def desire(
    path: Path,
    overrides: Overrides,
    generation: int,
    epochs: Mapping[str, int] = _NO_EPOCHS,
) -> Desired:
    """Read the config and look at the files of every enabled version.

    `epochs` counts the restarts asked for by hand, by version.

    Raises:
        ConfigError: the config cannot be read or is not valid.
    """
    config, text = read_config(path)
    models_dir = overrides.models_dir or config.models_path(path.parent.resolve())
    server = config.server
    versions = {
        name: _version(config, name, models_dir, epochs.get(name, 0)) for name in config.versions
    }
    return Desired(
        config=config,
        text=text,
        models_dir=models_dir,
        wanted=Wanted(
            generation=generation,
            default=config.default_version,
            last_resort=config.effective_last_resort(),
            versions=MappingProxyType(versions),
        ),
        front=FrontSpec(
            host=overrides.host or server.host,
            port=server.port if overrides.port is None else overrides.port,
            processes=server.gateway_processes,
            log_format=server.log_format,
            log_level=server.log_level,
            access_log=server.access_log,
            otlp_endpoint=_collector(server.otlp_endpoint),
        ),
        limits=Limits(**{key: getattr(server, key) for key in Limits.__slots__}),
        access=_access(server, path.parent.resolve(), overrides),
        traffic=_traffic(config),
        mirror=None if config.mirror is None else Mirror(config.mirror.to, config.mirror.share),
    )


def _traffic(config: Config) -> Traffic:
    shares = config.traffic.items()
    return Traffic(tuple(Arm(n, s) for n, s in shares if n != config.default_version))


def _collector(endpoint: str | None) -> str | None:
    if endpoint is not None and importlib.util.find_spec("opentelemetry") is None:
        problem = "needs OpenTelemetry; run: pip install 'rerank-server[otel]'"
        raise ConfigError(f"server.otlp_endpoint: {problem}")
    return endpoint


def _access(server: ServerConfig, directory: Path, overrides: Overrides) -> Access:
    file = None if server.api_keys_file is None else directory / server.api_keys_file
    return Access(
        keys=read_keys(file, overrides.api_keys),
        protect=tuple(server.protect),
        cors_origins=tuple(server.cors_origins),
    )


def version_limits(config: Config, name: str) -> VersionLimits:
    """Return what requests for the version `name` may take: its own limits over the server's."""
    version = config.versions[name]
    narrowed = {key: getattr(version, key) for key in NARROWED}
    limits = {
        key: getattr(config.server, key) if own is None else own for key, own in narrowed.items()
    }
    # More documents than may wait could never be taken: say so before they are sent to a worker.
    queue = config.versions[version.cascade[0].version] if version.cascade else version
    limits["max_docs"] = min(limits["max_docs"], queue.max_queued_pairs)
    return VersionLimits(**limits, max_queued_pairs=queue.max_queued_pairs)


def _cascade(config: Config, name: str, stages: Sequence[StageConfig]) -> WantedVersion:
    version = config.versions[name]
    return WantedVersion(
        name=name,
        enabled=version.enabled,
        endpoint=config.endpoint_of(name),
        description=version.description,
        source=name,
        fallback=version.fallback,
        spec=None,
        cascade=tuple(Stage(stage.version, stage.keep) for stage in stages),
        limits=version_limits(config, name) if version.enabled else VersionLimits(),
    )


def _version(config: Config, name: str, models_dir: Path, epoch: int) -> WantedVersion:
    version = config.versions[name]
    if version.cascade is not None:
        return _cascade(config, name, version.cascade)
    inference = config.inference_of(name)
    directory = models_dir / config.source_of(name)
    model, problem = "model", None
    spec: WorkerSpec | None = None
    if version.enabled:
        model = "model_cpu" if version.cpu_model == "model_cpu" else "model"
        needed = {model, "model"} if version.device.startswith("cuda") else {model}
        files, problem = examine(directory, config.source_of(name), needed)
    if version.enabled and problem is None:
        spec = WorkerSpec(
            version=name,
            directory=str(directory),
            fingerprint=files,
            python=str(interpreter(directory)),
            model=model,
            device="cpu",
            batch_size=inference.batch_size,
            max_length=inference.max_length,
            max_batch_tokens=inference.max_batch_tokens,
            use_fp16=inference.use_fp16,
            threads=version.threads,
            clean=version.preprocess.clean,
            long_docs=version.long_docs,
            env=tuple(sorted(version.env.items())),
            epoch=epoch,
        )
    return WantedVersion(
        name=name,
        enabled=version.enabled,
        endpoint=config.endpoint_of(name),
        description=version.description,
        source=config.source_of(name),
        fallback=version.fallback,
        spec=spec,
        problem=problem,
        replace=version.replace,
        start_timeout_s=version.start_timeout_s,
        max_batch_s=version.max_batch_s,
        replicas=version.replicas,
        wish=wish_of(version, directory),
        limits=version_limits(config, name),
    )
