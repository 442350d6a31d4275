"""Loads a version's `rerank.py` by its path and makes a model of what it provides."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast

from rerank_workers.failures import VersionFileError
from rerank_workers.scorer import Context, Item, Scorer
from rerank_workers.scoring import Model

FILE_NAME = "rerank.py"
_MODULE_NAME = "_rerank_version"

_SCORER_NAMES = ("mixes_requests", "info", "encode", "score", "to_unit")


def import_version(directory: Path) -> ModuleType:
    """Run the version's file as a module of a private name and return it.

    Its folder is appended to `sys.path`, so that a file beside it can be imported and shadows
    nothing. Raises whatever the file raises.

    Raises:
        VersionFileError: there is no file, or it defines no function `rerank`.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise VersionFileError(f"no such file in {directory}")
    sys.path.append(str(directory))
    loader = _SourceOnlyLoader(_MODULE_NAME, str(path))
    spec = importlib.util.spec_from_file_location(_MODULE_NAME, path, loader=loader)
    assert spec is not None, "a path with a loader always gives a spec"
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE_NAME] = module
    loader.exec_module(module)
    if not callable(getattr(module, "rerank", None)):
        raise VersionFileError("it defines no function rerank(query, docs)")
    return module


def load_model(module: ModuleType, context: Context) -> Model:
    """Call the module's `load(context)`, or wrap its bare `rerank`. Raises what `load` raises.

    Raises:
        VersionFileError: `load` returned something that is not a scorer.
    """
    load = getattr(module, "load", None)
    if load is None:
        rerank = cast(Callable[[str, list[str]], Sequence[float]], module.rerank)
        return Model(BareScorer(rerank), whole_requests=True)
    if not callable(load):
        raise VersionFileError("load is not a function")
    scorer: object = load(context)
    missing = [name for name in _SCORER_NAMES if not hasattr(scorer, name)]
    if missing:
        kind = type(scorer).__name__
        raise VersionFileError(f"load(context) returned {kind} without {', '.join(missing)}")
    return Model(cast(Scorer, scorer))


class _SourceOnlyLoader(importlib.machinery.SourceFileLoader):
    """Leaves no `__pycache__` behind: a version's folder changes only when its owner changes it."""

    def set_data(self, path: str, data: object, *, _mode: int = 0o666) -> None:
        """Write nothing."""


@dataclass(frozen=True, slots=True)
class _BareRequest:
    query: str
    docs: list[str]


@dataclass(frozen=True, slots=True)
class _BareItem:
    """One document of a request that is scored in one call."""

    request: _BareRequest
    index: int
    tokens: int = 0
    truncated: bool = False


class BareScorer:
    """A scorer around `rerank(query, docs)`: raw and unit scores are the same, tokens unknown."""

    mixes_requests = False

    def __init__(self, rerank: Callable[[str, list[str]], Sequence[float]]) -> None:
        self._rerank = rerank

    @property
    def info(self) -> Mapping[str, str]:
        """Say that nothing is known of the model."""
        return {"family": "custom", "engine": "rerank.py"}

    def encode(self, query: str, docs: Sequence[str]) -> Sequence[Item]:
        """Keep the texts; `rerank` tokenizes for itself."""
        request = _BareRequest(query, list(docs))
        return [_BareItem(request, index) for index in range(len(docs))]

    def score(self, items: Sequence[Item]) -> Sequence[float]:
        """Call `rerank` once. The items are all those of one request."""
        bare = cast(Sequence[_BareItem], items)
        request = bare[0].request
        assert len(bare) == len(request.docs), "a bare request is never split"
        scores = self._rerank(request.query, request.docs)
        return scores

    def to_unit(self, raw: Sequence[float]) -> Sequence[float]:
        """Return the scores as they are; the caller checks that they lie within 0..1."""
        return raw
