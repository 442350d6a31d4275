"""The `configure` message as a value."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_type_hints


class SettingsError(ValueError):
    """The supervisor's `configure` message lacks a field or has one of another type."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one worker runs its version; field names are those of the message."""

    version: str
    instance: str
    directory: str
    model: str
    device: str
    socket: str
    batch_size: int
    max_length: int
    use_fp16: bool
    max_batch_tokens: int
    threads: int | None
    max_queued_pairs: int
    clean: bool
    engine_store: str | None = None
    """File in which the choice of an engine is remembered; None: the exact one, always."""
    long_docs: str | None = None
    """"chunk": documents that do not fit are scored window by window; else they are cut off."""

    @property
    def path(self) -> Path:
        """The version's directory."""
        return Path(self.directory)


def parse_settings(message: Mapping[str, object]) -> Settings:
    """Read a `configure` message; fields this worker does not know are ignored.

    Raises:
        SettingsError: naming the field.
    """
    fields = {}
    optional = {field.name for field in dataclasses.fields(Settings) if field.default is None}
    for name, hint in get_type_hints(Settings).items():
        if name not in message:
            if name in optional:
                continue
            raise SettingsError(f"configure: {name} is missing")
        value = message[name]
        if not _fits(value, hint):
            raise SettingsError(f"configure: {name} has type {type(value).__name__}")
        fields[name] = value
    return Settings(**fields)  # type: ignore[arg-type]  # each value was checked against its hint


def _fits(value: object, hint: object) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    assert isinstance(hint, type)
    # A bool is an int to Python; to a person who wrote batch_size: true it is a mistake.
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
