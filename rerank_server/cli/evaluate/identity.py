"""Which model a version was while it was measured: engine, precision, device, files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """What the server says of one version."""

    version: str
    description: str
    source: str
    model: str | None
    """Which of the folders of weights, `model` or `model_cpu`."""
    model_files: tuple[str, ...]
    engine: str | None
    dtype: str | None
    device: str | None
    fingerprint: str | None
    """Digest of the names, sizes and times of all its files."""
    degraded: str | None
    memory_bytes: int
    gpu_memory_bytes: int
    processes: tuple[int, ...]

    def change_to(self, now: Identity | None) -> str | None:
        """Return what became of it meanwhile, if its answers may not all be those of one model."""
        if now is None or not now.processes:
            return "no longer ran at the end"
        if now._model != self._model:
            return "changed its files, engine or device during the run: these are figures of both"
        if now.processes != self.processes:
            return "had a process replaced during the run"
        return None

    @property
    def _model(self) -> tuple[object, ...]:
        return (self.engine, self.dtype, self.device, self.fingerprint)


def identities(state: Mapping[str, object]) -> Mapping[str, Identity]:
    """Read state.json, version by version; what it does not say is missing here too.

    A cascade is what its stages are together.
    """
    versions = _list(state.get("versions"))
    found = {
        name: _identity(name, version)
        for version in versions
        if (name := _text(version, "name")) is not None
    }
    for version in versions:
        names = [_text(stage, "version") for stage in _list(version.get("cascade"))]
        stages = [found[name] for name in names if name in found]
        own = found.get(_text(version, "name") or "")
        if stages and own is not None:
            found[own.version] = _of_stages(own, stages)
    return found


def digest(directory: Path, files: Iterable[str]) -> str | None:
    """Return the SHA-256 over the content of the model files; None: they cannot be read."""
    digest = hashlib.sha256()
    names = sorted(files)
    try:
        for name in names:
            with (directory / name).open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
    except OSError:
        return None
    return digest.hexdigest() if names else None


def _identity(name: str, version: Mapping[str, object]) -> Identity:
    said = version.get("info")
    model: Mapping[str, object] = said if isinstance(said, Mapping) else {}
    instances = [i for i in _list(version.get("instances")) if i.get("state") == "RUNNING"]
    files = _text(model, "model_files")
    return Identity(
        version=name,
        description=_text(version, "description") or "",
        source=_text(version, "source") or name,
        model=_text(version, "model"),
        model_files=tuple(files.split(", ")) if files else (),
        engine=_text(model, "engine"),
        dtype=_text(model, "dtype"),
        device=_text(version, "device"),
        fingerprint=_text(version, "fingerprint"),
        degraded=_text(version, "degraded"),
        memory_bytes=_sum(instances, "memory_bytes"),
        gpu_memory_bytes=_sum(instances, "gpu_memory_bytes"),
        processes=tuple(sorted(pid for i in instances if isinstance(pid := i.get("pid"), int))),
    )


def _of_stages(own: Identity, stages: Sequence[Identity]) -> Identity:
    return replace(
        own,
        engine=f"cascade of {', '.join(stage.version for stage in stages)}",
        fingerprint=" ".join(str(stage._model) for stage in stages),
        memory_bytes=sum(stage.memory_bytes for stage in stages),
        gpu_memory_bytes=sum(stage.gpu_memory_bytes for stage in stages),
        processes=tuple(sorted(pid for stage in stages for pid in stage.processes)),
    )


def _list(value: object) -> list[Mapping[str, object]]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Mapping)]


def _text(holder: Mapping[str, object], key: str) -> str | None:
    value = holder.get(key)
    return value if isinstance(value, str) else None


def _sum(holders: Iterable[Mapping[str, object]], key: str) -> int:
    return sum(value for one in holders if isinstance(value := one.get(key), int))
