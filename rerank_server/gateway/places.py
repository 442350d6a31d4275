"""Finds out what a request's path stands for, by the routes table."""

from __future__ import annotations

import re

from rerank_server.errors import NotFoundError
from rerank_server.gateway.paths import PAGES, SCORE_PATH, Page
from rerank_server.gateway.table import Place, View
from rerank_server.names import nearest

_MODELS = "/v1/models"
_SLASHES = re.compile("/{2,}")


def find(view: View, path: str) -> Place:
    """Return what a path stands for; a `/` too many changes nothing.

    Raises:
        NotFoundError: no such path; tells the nearest version where the path looks like one.
    """
    place = view.paths.get(path)
    if place is not None:
        return place
    path = _SLASHES.sub("/", path).rstrip("/")
    place = view.paths.get(path) or _model(view, path)
    if place is not None:
        return place
    raise _not_found(view, path)


def is_foreign(path: str) -> bool:
    """Tell whether a path, known or not, is one that other servers' clients ask for scores."""
    path = _SLASHES.sub("/", path).rstrip("/")
    return any(path.endswith(end) for end, page in PAGES.items() if page is Page.SCORE_OBJECT)


def model_of(path: str) -> str | None:
    """Return the model's name in a path below `/v1/models`, None where there is none."""
    _, models, name = _SLASHES.sub("/", path).rstrip("/").partition(f"{_MODELS}/")
    return name if models and name else None


def _model(view: View, path: str) -> Place | None:
    """Return the place of a path below `/v1/models`. A model's name may have slashes."""
    above, models, name = path.partition(f"{_MODELS}/")
    return view.paths.get(above + _MODELS) if models and name else None


def _not_found(view: View, path: str) -> NotFoundError:
    if not path.startswith(f"{SCORE_PATH}/"):
        return NotFoundError("nothing is served at this path; POST /rerank scores documents")
    known = view.table.versions
    ends = sorted((end for end in PAGES if path.endswith(end)), key=len)
    name = path.removesuffix(ends[-1] if ends else "").rpartition("/")[2]
    near = nearest(name, list(known))
    if near is None:
        return NotFoundError("no version has this path; GET /versions lists them", field="path")
    return NotFoundError(
        f"no version has this path; the nearest is {near} at {known[near].endpoint}", field="path"
    )
