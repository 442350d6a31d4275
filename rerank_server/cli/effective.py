"""What a configuration amounts to: every key, the value that holds, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from rerank_server.cli.table import pad, width
from rerank_server.config import Config, InferenceConfig, VersionConfig
from rerank_server.config_cascade import OF_A_PROCESS
from rerank_server.yaml_text import Document, Key, read

HIDDEN = "(hidden)"
"""In place of an environment variable's value, which may be a secret."""

DEFAULT = "default"
_WIDEST = 60


@dataclass(frozen=True, slots=True)
class Setting:
    """One key; a section has no value of its own."""

    key: Key
    value: object
    origin: str
    """`config.yaml:12`, `default`, or what on a command line said it; of a section empty."""
    is_section: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """A value that a command line puts over the file's."""

    value: object
    by: str


class Effective:
    """One accepted configuration, its file, and what was said over it."""

    def __init__(
        self, config: Config, document: Document, path: Path, over: Mapping[Key, Said]
    ) -> None:
        """Take what `parse` and `read` made of the file at `path`, which is absolute."""
        self._config = config
        self._document = document
        self._path = path
        self._over = over

    def settings(self) -> Iterator[Setting]:
        """Yield every key with the value that holds; a section before what is in it."""
        yield from self._section(self._config, ())

    def _section(self, section: BaseModel, key: Key) -> Iterator[Setting]:
        fields = list(type(section).model_fields)
        # What has keys of its own goes last, as people write it.
        for name in sorted(fields, key=lambda field: _has_keys(getattr(section, field))):
            if _is_meaningless(section, name):
                continue
            value = getattr(section, name)
            own = (*key, name)
            if isinstance(value, BaseModel):
                yield Setting(own, None, "", is_section=True)
                yield from self._section(value, own)
            elif own == ("versions",):
                yield Setting(own, None, "", is_section=True)
                for version, its in self._config.versions.items():
                    yield Setting((*own, version), None, "", is_section=True)
                    yield from self._section(its, (*own, version))
            else:
                yield self._setting(section, own, value)

    def _setting(self, section: BaseModel, key: Key, value: object) -> Setting:
        if key in self._over:
            said = self._over[key]
            return Setting(key, said.value, said.by)
        origin = self._line(key) if str(key[-1]) in section.model_fields_set else DEFAULT
        if key == ("models_dir",):
            value = str(self._config.models_path(self._path.parent))
        if value is None:
            return self._derived(key, origin)
        if key[-1] == "cascade" and isinstance(value, list):
            value = [stage.model_dump(exclude_none=True) for stage in value]
        if key[-1] == "env" and isinstance(value, dict):
            value = dict.fromkeys(value, HIDDEN)
        return Setting(key, value, origin)

    def _derived(self, key: Key, origin: str) -> Setting:
        """Return what holds where the file says nothing."""
        match key:
            case ("last_resort",):
                return Setting(key, self._config.effective_last_resort(), origin)
            case ("versions", name, "endpoint"):
                return Setting(key, self._config.endpoint_of(str(name)), origin)
            case ("versions", name, shared) if shared in InferenceConfig.model_fields:
                above = ("global_config", shared)
                value = getattr(self._config.inference_of(str(name)), str(shared))
                is_set = shared in self._config.global_config.model_fields_set
                return Setting(key, value, self._line(above) if is_set else DEFAULT)
        return Setting(key, None, origin)

    def _line(self, key: Key) -> str:
        # A key that came in through an alias has no line of its own.
        return f"{self._path.name}:{self._document.problem(key, '').line}"


def as_yaml(settings: Iterator[Setting]) -> list[str]:
    """Return settings as lines of YAML, each with its origin as a comment."""
    written = [
        (f"{'  ' * (len(setting.key) - 1)}{setting.key[-1]}:{_scalar(setting)}", setting.origin)
        for setting in settings
    ]
    column = min(max(width(text) for text, _ in written), _WIDEST)
    return [f"{pad(text, column)}  # {origin}" if origin else text for text, origin in written]


def _is_meaningless(section: BaseModel, name: str) -> bool:
    """Tell whether a key says nothing here: a cascade has no process, whatever the defaults are."""
    is_cascade = isinstance(section, VersionConfig) and section.cascade is not None
    return is_cascade and name in OF_A_PROCESS


def _has_keys(value: object) -> bool:
    return isinstance(value, BaseModel) or (
        isinstance(value, dict) and any(isinstance(item, BaseModel) for item in value.values())
    )


def _scalar(setting: Setting) -> str:
    if setting.is_section:
        return ""
    value = setting.value
    if isinstance(value, str):
        found = read(value)
        is_plain = isinstance(found, Document) and found.value == value and " #" not in value
        return f" {value}" if is_plain else f" {json.dumps(value, ensure_ascii=False)}"
    if isinstance(value, float):
        return f" {value:g}"
    return f" {json.dumps(value, ensure_ascii=False)}"
