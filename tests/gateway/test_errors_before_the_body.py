"""Refused before its body is read, a request is answered in the format of its path."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from rerank_server.core.access import Access, ApiKey, Scope, digest_of
from rerank_server.gateway.paths import FOREIGN, PAGES, Page
from rerank_server.gateway.table import view_of
from tests.gateway.fakes import LIMITS, route, table
from tests.gateway.harness import JSON, Gateway

READER = "reader-0123456789"
GUARDED = Access((ApiKey(digest_of(READER), (Scope.READ,)),))
V1 = route("v1", "v1.1", endpoint="/my/score")  # ends as another server's path does
SCORES = [path for path, page in PAGES.items() if page in (Page.SCORE, Page.SCORE_OBJECT)]
OTHER_NAMES = [
    *("/v1/retrieval/nv/reranking", "/reranks", "/compatible-api/v1/reranks", "/v1/v1/rerank"),
    "/api/v1/services/rerank/text-rerank/text-rerank",
]
NATIVE = ["/rerank", "/my/score", "/my/score/rerank", "/rerank//", "/my/score/"]
OBJECT = [path for path in SCORES if path != "/rerank"]
OBJECT += ["/my/score" + path for path in OBJECT] + OTHER_NAMES
PATHS = [*((path, False) for path in NATIVE), *((path, True) for path in OBJECT)]


def shown(gateway: Gateway, access: Access = GUARDED, **limits: int) -> None:
    """Publish a table with these keys and limits."""
    gateway.show(replace(table(V1, limits=replace(LIMITS, **limits)), access=access))


def check(answer: httpx.Response, status: int, *, is_object: bool) -> None:
    """See that an error has all that the clients of its path read."""
    said = answer.json()
    assert answer.status_code == status
    if is_object:
        assert said.keys() == {"error", "message", "detail", "id"}
        assert said["message"] == said["detail"] == said["error"]["message"]
        assert said["error"]["code"] == status
    else:
        assert said.keys() == {"error", "request_id"}
        assert isinstance(said["error"]["code"], str)


def test_every_score_path_is_among_these() -> None:
    assert {page for path, page in PAGES.items() if path in OBJECT} == {Page.SCORE_OBJECT}
    assert set(view_of(table(V1)).paths) >= {*NATIVE[:3], *OBJECT} - set(OTHER_NAMES)


@pytest.mark.parametrize(("path", "is_object"), PATHS)
def test_keys_media_type_and_size_are_judged_by_the_head(
    gateway: Gateway, path: str, is_object: bool
) -> None:
    key = {"X-API-Key": READER}
    shown(gateway)
    check(gateway.post(path, content=b"{}"), 401, is_object=is_object)
    check(gateway.post(path, content=b"{}", headers={**JSON, **key}), 403, is_object=is_object)
    shown(gateway, Access(), max_body_bytes=10)
    check(gateway.post(path, content=b"x" * 11), 413, is_object=is_object)
    shown(gateway, Access(), max_in_flight_bytes=10)
    full = gateway.post(path, content=b"x" * 11)
    check(full, 429, is_object=is_object)
    assert full.headers["retry-after"] == "1"
    image = gateway.post(path, content=b"{}", headers={"content-type": "image/png"})
    check(image, 415, is_object=is_object)
    check(gateway.ask("GET", path), 405, is_object=is_object)


@pytest.mark.parametrize(("path", "is_object"), [("/v1/rerank", True), ("/rerank", False)])
def test_a_server_that_knows_no_version_yet_says_so_in_the_format_of_the_path(
    gateway: Gateway, path: str, is_object: bool
) -> None:
    gateway.routes.view = None

    check(gateway.post(path, content=b"{}"), 503, is_object=is_object)


@pytest.mark.parametrize("path", ["/nobody/v1/rerank", "/v1/nothing", "/nobody/rerank", "/no"])
def test_an_unknown_path_is_judged_by_its_looks(gateway: Gateway, path: str) -> None:
    shown(gateway)
    is_object = "v1" in path

    check(gateway.post(path, content=b"{}"), 401, is_object=is_object)
    shown(gateway, Access())
    check(gateway.post(path, content=b"{}"), 404, is_object=is_object)


@pytest.mark.parametrize("above", ["", "/my/score"])
@pytest.mark.parametrize("path", [*PAGES, "/v1/models/v1"])
def test_pages_tell_errors_as_their_clients_read_them(
    gateway: Gateway, above: str, path: str
) -> None:
    page = PAGES.get(path, Page.MODELS)
    if page in (Page.SCORE, Page.SCORE_OBJECT):
        return
    shown(gateway)
    turned_away = gateway.post(above + path, content=b"{}")
    shown(gateway, Access())
    wrong_method = gateway.post(above + path, content=b"{}")

    check(turned_away, 401, is_object=page in FOREIGN)
    check(wrong_method, 405, is_object=page in FOREIGN)
