"""Every route, method and dialect asks for a key once there is one, but those said to be open."""

from __future__ import annotations

import itertools
import pkgutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from rerank_server.core.access import PAGES as CHOSEN
from rerank_server.core.access import Access, ApiKey, Scope, digest_of
from rerank_server.gateway import dialects
from rerank_server.gateway.dialects.choice import pick
from rerank_server.gateway.native import NATIVE
from rerank_server.gateway.openapi.headers import HEADERS, PARAMETERS
from rerank_server.gateway.paths import PAGES
from tests.gateway.fakes import route, table
from tests.gateway.harness import JSON, Gateway

SCORER, READER, BOTH = "scorer-0123456789", "reader-0123456789", "both-0123456789ab"
KEYS = (
    ApiKey(digest_of(SCORER), (Scope.SCORE,)),
    ApiKey(digest_of(READER), (Scope.READ,)),
    ApiKey(digest_of(BOTH)),
)
ENDPOINT = "/rerank/v1"
PATHS = [
    *("/health", "/ready", "/versions", "/metrics", "/v1/models/v1", f"{ENDPOINT}/health"),
    *(f"{ENDPOINT}/v1/models/x", "/rerank/health", "/v1/retrieval/nv/reranking", "/reranks"),
    *("/compatible-api/v1/reranks", "/api/v1/services/rerank/text-rerank/text-rerank"),
    *("/v1/v1/rerank", f"{ENDPOINT}/reranks", "/v1/rerank/", "/v1//rerank"),
    *("/v1/models/health", "/v1//models/x/health", f"{ENDPOINT}/v1/models/v1/cluster/auth"),
    *("/nothing/health", "/nothing/v1/cluster/auth", "/v1/cluster/auth/", "/v1/models/docs"),
    *("/docs/", "/openapi.json//", f"{ENDPOINT}/docs/"),
    *(f"{ENDPOINT}/health?deep=1", "/nothing", "/", "//docs", "/metrics/", "/versions/x"),
    *PAGES,
    *(ENDPOINT + page for page in PAGES),
    *(ENDPOINT, f"{ENDPOINT}/"),
]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FETCH")
BODIES: Mapping[str, Mapping[str, object]] = {
    "native": {"query": "q", "docs": ["a"]},
    "tei": {"query": "q", "texts": ["a"]},
    "superset": {"query": "q", "documents": ["a"], "top_n": 1},
    "bare": {"query": "q", "documents": ["a"]},
    "pairs": {"text_1": "q", "text_2": ["a"]},
    "voyage": {"query": "q", "documents": ["a"], "top_k": 1},
    "mixedbread": {"query": "q", "input": ["a"]},
    "nim": {"query": {"text": "q"}, "passages": [{"text": "a"}]},
    "dashscope": {"model": "m", "input": {"query": "q", "documents": ["a"]}},
    "pinecone": {"query": "q", "documents": ["a"], "top_n": 1},
}
SIGNS = ("api-key", "x-pinecone-api-version")
MORE_HEADERS = {"pinecone": {"X-Pinecone-API-Version": "2025-10"}}
OPEN = {
    *("/health", "/ready", f"{ENDPOINT}/health", "/rerank/health"),
    *("/v1/cluster/auth", "/v1/cluster/auth/", f"{ENDPOINT}/v1/cluster/auth"),
}


def guard(gateway: Gateway, access: Access) -> None:
    gateway.show(replace(table(route("v1", "v1.1")), access=access))


def ask(gateway: Gateway, method: str, path: str, key: str | None, body: str) -> httpx.Response:
    sent = {} if key is None else {"Authorization": f"Bearer {key}"}
    content = httpx.Request("POST", "http://x", json=BODIES[body]).content
    headers = {**JSON, **sent, **MORE_HEADERS.get(body, {})}
    return gateway.ask(method, f"http://test{path}", content=content, headers=headers)


def is_open(method: str, path: str) -> bool:
    return method in ("GET", "HEAD") and path in OPEN


def test_the_walk_knows_every_route_and_every_dialect() -> None:
    own = {route.path for route in app_routes()}
    served = {*own, *PAGES, *(ENDPOINT + page for page in PAGES), ENDPOINT}
    found = {
        type(pick(body, NATIVE, {n.lower().encode(): b"" for n in MORE_HEADERS.get(name, {})}))
        for name, body in BODIES.items()
    }

    assert served <= set(PATHS)
    assert {kind.__name__ for kind in found} == {*dialect_classes(), "Native"}


def app_routes() -> list[Route]:
    """Return what Starlette routes by itself."""
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway(Path(directory))
        gateway.close()
    return [each for each in gateway.app.routes if isinstance(each, Route)]


def dialect_classes() -> set[str]:
    """Return the names of the classes that read and write a format."""
    names = set()
    for module in pkgutil.iter_modules(dialects.__path__):
        for name, kind in vars(import_module(f"{dialects.__name__}.{module.name}")).items():
            if isinstance(kind, type) and {"parse", "render", "render_error"} <= set(dir(kind)):
                names.add(name)
    return names - {"Dialect"}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("method", METHODS)
def test_without_a_key_nothing_is_answered_but_what_is_open(
    gateway: Gateway, method: str, body: str
) -> None:
    guard(gateway, Access(KEYS))

    for path in PATHS:
        answer = ask(gateway, method, path, None, body)
        assert (answer.status_code != 401) == is_open(method, path), path
        assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    assert not gateway.workers.errands


@pytest.mark.parametrize("method", METHODS)
def test_a_key_does_what_its_scope_says(gateway: Gateway, method: str) -> None:
    guard(gateway, Access(KEYS))
    refused = {SCORER: set[str](), READER: set[str](), BOTH: set[str]()}

    for path, key in itertools.product(PATHS, refused):
        status = ask(gateway, method, path, key, "native").status_code
        assert status != 401
        refused[key] |= {path} if status == 403 else set()

    assert not refused[BOTH]
    if method in ("GET", "HEAD"):
        pages = {p for p in PATHS if p.rstrip("/").endswith(("/docs", "/openapi.json"))}
        others = {"/metrics", "/versions", f"{ENDPOINT}/health?deep=1"}
        assert refused[SCORER] == pages - {"/v1/models/docs"} | others
        assert not refused[READER]
    else:
        assert not refused[SCORER]
        assert refused[READER] == set(PATHS)


@pytest.mark.parametrize("chosen", CHOSEN)
def test_a_page_is_open_where_the_config_says_so(gateway: Gateway, chosen: str) -> None:
    guard(gateway, Access(KEYS, protect=tuple(page for page in CHOSEN if page != chosen)))

    statuses = {page: gateway.get(page).status_code for page in CHOSEN}

    assert {page for page, status in statuses.items() if status != 401} == {chosen}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {BOTH}"},
        {"Authorization": f"bearer  {BOTH}"},
        {"Authorization": BOTH},
        {"X-API-Key": BOTH},
        {"x-api-key": BOTH, "Authorization": "Bearer of-another-service"},
    ],
)
def test_a_key_comes_as_clients_send_it(gateway: Gateway, headers: dict[str, str]) -> None:
    guard(gateway, Access(KEYS))

    answer = gateway.post(body=BODIES["native"], headers={**JSON, **headers})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer ", f"Basic {BOTH}", f"Bearer {BOTH}x", f"Bearer {BOTH[:-1]}",
             f"Bearer {digest_of(BOTH)}", "Bearer \xff\xfe", f"Bearer {BOTH} {BOTH}"],
)  # fmt: skip
def test_what_is_no_key_lets_nobody_in(gateway: Gateway, sent: str) -> None:
    guard(gateway, Access(KEYS))

    answer = gateway.post(body=BODIES["native"], headers={**JSON, "Authorization": sent})

    assert answer.status_code == 401
    assert BOTH not in answer.text


def test_without_keys_everything_is_open(gateway: Gateway) -> None:
    assert gateway.get("/versions").status_code == 200
    assert gateway.get("/v1/cluster/auth").json() == {"auth": False}
    assert gateway.post(body=BODIES["native"]).status_code == 200


def test_the_handshake_says_that_a_key_is_needed(gateway: Gateway) -> None:
    guard(gateway, Access(KEYS))

    assert gateway.get("/v1/cluster/auth").json() == {"auth": True}


# --- browsers -----------------------------------------------------------------------------------

PAGE = "https://rag.example.org"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}


@pytest.mark.parametrize("keys", [(), KEYS], ids=["open", "guarded"])
@pytest.mark.parametrize("origins", [(PAGE,), ("*",)])
def test_a_page_of_a_known_origin_may_ask(
    gateway: Gateway, keys: tuple[ApiKey, ...], origins: tuple[str, ...]
) -> None:
    guard(gateway, Access(keys, cors_origins=origins))

    before = gateway.ask("OPTIONS", "/rerank", headers=PREFLIGHT)
    answer = ask(gateway, "POST", "/rerank", BOTH, "native")
    framed = gateway.post(
        body=BODIES["native"], headers={**JSON, "Origin": PAGE, "X-API-Key": BOTH}
    )

    assert before.status_code == 204
    assert before.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in before.headers["access-control-allow-headers"]
    assert framed.headers["access-control-allow-origin"] == PAGE
    assert "server-timing" in framed.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_may_send_and_read_every_header_there_is(gateway: Gateway) -> None:
    guard(gateway, Access(cors_origins=(PAGE,)))

    before = gateway.ask("OPTIONS", "/rerank", headers=PREFLIGHT)
    answer = gateway.post(body=BODIES["native"], headers={**JSON, "Origin": PAGE})

    taken = words(before.headers["access-control-allow-headers"])
    shown = words(answer.headers["access-control-expose-headers"])
    assert {*map(str.lower, PARAMETERS), "authorization", "x-api-key", *SIGNS} <= taken
    assert {*map(str.lower, HEADERS)} - {"www-authenticate", "allow"} <= shown


def words(listed: str) -> set[str]:
    return {word.strip() for word in listed.split(",")}


@pytest.mark.parametrize("origins", [(), ("https://other.example.org",)])
def test_pages_of_other_origins_may_not(gateway: Gateway, origins: tuple[str, ...]) -> None:
    guard(gateway, Access(cors_origins=origins))

    before = gateway.ask("OPTIONS", "/rerank", headers=PREFLIGHT)
    framed = gateway.post(body=BODIES["native"], headers={**JSON, "Origin": PAGE})

    assert before.status_code == 405
    assert framed.status_code == 200
    for answer in (before, framed):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("path", "key"),
    [("/v1/rerank", "detail"), ("/v2/rerank", "message"), ("/rerank", "request_id")],
)
def test_a_request_turned_away_is_told_so_in_the_form_of_its_path(
    gateway: Gateway, path: str, key: str
) -> None:
    guard(gateway, Access(KEYS))

    answer = ask(gateway, "POST", path, None, "superset")

    assert answer.status_code == 401
    assert key in answer.json()
