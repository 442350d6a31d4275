"""Decides whether a request's API key lets it in."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from rerank_server.core.access import PAGES, ApiKey, Scope
from rerank_server.errors import ForbiddenError, UnauthorizedError
from rerank_server.gateway.health import has_health
from rerank_server.gateway.paths import Page
from rerank_server.gateway.places import place_of
from rerank_server.gateway.table import View

_OPEN = frozenset(("/health", "/ready"))
_CHOSEN = {Page.DOCS: "/docs", Page.OPENAPI: "/openapi.json"}
_READS = ("GET", "HEAD")
_ANY: tuple[Scope, ...] = tuple(Scope)


def check(view: View, method: str, path: str, query: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Let a request pass, or refuse it.

    Raises:
        UnauthorizedError: it brings no key, or none that is known.
        ForbiddenError: its key may not do this.
    """
    known = view.table.access.keys
    if not known:
        return
    needed = _needed(view, method, path, query)
    if not needed:
        return
    sent = _sent(headers)
    if sent is None:
        raise UnauthorizedError(
            "an API key is needed; send it as Authorization: Bearer KEY or as X-API-Key: KEY"
        )
    scopes = _scopes(known, sent)
    if scopes is None:
        raise UnauthorizedError("the API key is not valid")
    if not set(needed).intersection(scopes):
        raise ForbiddenError(f"the API key may not do this; it takes the scope {needed[0]}")


def _needed(view: View, method: str, path: str, query: bytes) -> tuple[Scope, ...]:
    """Return the scopes of which one lets the request pass; none: it passes without a key.

    What is served at the path decides, not how the path looks: a model's name may look like any
    other path's end. Whatever is not known to be open needs a key.
    """
    if method not in _READS:
        return (Scope.SCORE,)
    if path in _OPEN:
        return ()
    if has_health(view, path):  # a version's; a deep look makes it score
        return (Scope.READ,) if b"deep" in query else ()
    place = place_of(view, path)
    if place is not None and place.page is Page.AUTH:
        return ()  # asked without a key, to learn whether one is needed
    page = path if place is None else _CHOSEN.get(place.page)
    if page in PAGES:
        return (Scope.READ,) if page in view.table.access.protect else ()
    return _ANY


def _sent(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the key a request brings, however its client sends one."""
    for name in (b"x-api-key", b"api-key"):  # the latter is Pinecone's and Azure's
        own = headers.get(name, b"").strip()
        if own:
            return own
    said = headers.get(b"authorization", b"").strip()
    kind, _, rest = said.partition(b" ")
    if kind.lower() == b"bearer":
        said = rest.strip()
    return said or None


def _scopes(keys: Sequence[ApiKey], sent: bytes) -> tuple[Scope, ...] | None:
    """Return what a key may do, None if it is not known.

    All are compared, each in constant time: how long it takes tells nothing about any of them.
    """
    digest = hashlib.sha256(sent).hexdigest()
    found: tuple[Scope, ...] | None = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key.scopes if found is None else (*found, *key.scopes)
    return found
