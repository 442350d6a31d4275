"""Finds out what a request's path stands for, by the routes table."""

from __future__ import annotations

import re

from rerank_server.errors import NotFoundError
from rerank_server.gateway.paths import FOREIGN, PAGES, SCORE_PATH
from rerank_server.gateway.table import Place, View
from rerank_server.names import nearest

_MODELS = "/v1/models"
_NIM, _NIM_END = "/v1/retrieval/", "/reranking"  # between them some model's name
_OTHER_ENDS = (
    ("/api/v1/services/rerank/text-rerank/text-rerank", "/v1/rerank"),
    ("/compatible-api/v1/reranks", "/v1/rerank"),
    ("/reranks", "/rerank"),
)
"""Ends of the paths of DashScope's clients, and what stands for them here."""
_SLASHES = re.compile("/{2,}")
_ROOTS = ("/v1/", "/v2/")
_TWICE = re.compile("^/v[12](?=/v[12]/)")


def find(view: View, path: str) -> Place:
    """Return what a path stands for; a `/` too many changes nothing, nor does a `/v1` too many.

    The latter is where a client adds `/v1/rerank` to a base URL that ends with `/v1`.

    Raises:
        NotFoundError: no such path; tells the nearest version where the path looks like one.
    """
    place = place_of(view, path)
    if place is not None:
        return place
    raise _not_found(view, _SLASHES.sub("/", path).rstrip("/"))


def place_of(view: View, path: str) -> Place | None:
    """Return what a path stands for, None where there is no such path."""
    place = view.paths.get(path)
    if place is None:
        path = _SLASHES.sub("/", path).rstrip("/")
        place = view.paths.get(path) or _model(view, path) or _elsewhere(view, path)
    return place


def is_foreign(view: View | None, path: str) -> bool:
    """Tell whether a path, known or not, is one that other servers' clients ask."""
    place = None if view is None else view.paths.get(path)
    if place is None:
        path = _SLASHES.sub("/", path).rstrip("/")
        place = None if view is None else view.paths.get(path) or _model(view, path)
    if place is not None:
        return place.page in FOREIGN
    ends = (end for end, page in PAGES.items() if page in FOREIGN)
    others = (_NIM_END, *(end for end, _ in _OTHER_ENDS))
    return f"{path}/".startswith(_ROOTS) or path.endswith((*ends, *others))


def model_of(path: str) -> str | None:
    """Return the model's name in a path below `/v1/models`, None where there is none."""
    _, models, name = _SLASHES.sub("/", path).rstrip("/").partition(f"{_MODELS}/")
    return name if models and name else None


def _model(view: View, path: str) -> Place | None:
    """Return the place of a path below `/v1/models`. A model's name may have slashes."""
    above, models, name = path.partition(f"{_MODELS}/")
    return view.paths.get(above + _MODELS) if models and name else None


def _elsewhere(view: View, path: str) -> Place | None:
    """Return the place of a path that some service has and this server calls otherwise."""
    path = _TWICE.sub("", path)
    above, nim, name = path.partition(_NIM)
    if nim and name.endswith(_NIM_END):
        path = f"{above}/v1{_NIM_END}"
    for end, ours in _OTHER_ENDS:
        if path.endswith(end):
            path = path.removesuffix(end) + ours
    return view.paths.get(path)


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
