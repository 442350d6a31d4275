"""Finds the template that becomes a version's `rerank.py`.

The templates belong to the worker package. Its files are read as data; it is never imported here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import MappingProxyType

from rerank_server.catalog.sources import Family
from rerank_server.errors import CatalogError

_FILES = MappingProxyType(
    {
        Family.CROSS_ENCODER: "cross_encoder.py",
        Family.BI_ENCODER: "bi_encoder.py",
        Family.LATE_INTERACTION: "late_interaction.py",
    }
)


def template(family: Family) -> str:
    """Read the template for a family of models.

    Raises:
        CatalogError: the worker package is not installed or lacks the template.
    """
    path = directory() / _FILES[family]
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"{path}: no template for {family.value} ({error.strerror})") from error


def directory() -> Path:
    """Locate the templates of the worker package beside this installation.

    Raises:
        CatalogError: the worker package is not installed.
    """
    # A top-level name is located without being imported.
    spec = importlib.util.find_spec("rerank_workers")
    if spec is None or spec.origin is None:
        raise CatalogError("the package rerank_workers is not installed beside rerank_server")
    return Path(spec.origin).parent / "templates"
