"""Which model a version was while it was measured: engine, precision, device, files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rerank_server.core.cascade import described
from rerank_server.core.traffic import Stage, stages_from

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
    memory_bytes: int | None
    """None: not known of all its stages."""
    gpu_memory_bytes: int | None
    processes: tuple[int, ...]
    stages: tuple[Identity | None, ...] = ()
    """Of a cascade; None: the server says nothing of that one."""

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
        own = (self.engine, self.dtype, self.device, self.fingerprint)
        return (*own, *(stage._model if stage is not None else None for stage in self.stages))


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
        own, stages = (
            found.get(_text(version, "name") or ""),
            stages_from(_list(version.get("cascade"))),
        )
        if stages and own is not None:
            found[own.version] = _of_stages(own, stages, found)
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


def _of_stages(own: Identity, stages: Sequence[Stage], known: Mapping[str, Identity]) -> Identity:
    found = [known.get(stage.version) for stage in stages]
    whole = replace(own, engine=described(stages), stages=tuple(found))
    there = [stage for stage in found if stage is not None]
    processes = tuple(sorted(pid for stage in there for pid in stage.processes))
    if len(there) < len(stages):
        return replace(whole, memory_bytes=None, gpu_memory_bytes=None, processes=processes)
    prints = [
        Stage(str(one.fingerprint), stage.keep) for one, stage in zip(there, stages, strict=True)
    ]
    return replace(
        whole,
        fingerprint=described(prints) if all(one.fingerprint for one in there) else None,
        memory_bytes=sum(stage.memory_bytes or 0 for stage in there),
        gpu_memory_bytes=sum(stage.gpu_memory_bytes or 0 for stage in there),
        processes=processes,
    )


def _list(value: object) -> list[Mapping[str, object]]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Mapping)]


def _text(holder: Mapping[str, object], key: str) -> str | None:
    value = holder.get(key)
    return value if isinstance(value, str) else None


def _sum(holders: Iterable[Mapping[str, object]], key: str) -> int:
    return sum(value for one in holders if isinstance(value := one.get(key), int))
