"""What every section of config.yaml has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """Keys that are all known, of the very type they must have, and never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _take_nothing_as_empty(cls, value: object) -> object:
        """A section whose keys are all commented out has every default."""
        return {} if value is None else value
