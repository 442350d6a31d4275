"""Who may ask what: API keys by their digests, the pages they guard, the browsers let in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

PREFIX = "sha256:"
SHORTEST_KEY = 16
"""Characters; a digest without salt is safe for keys that cannot be guessed, and only for them."""
_HEXADECIMAL = frozenset("0123456789abcdef")


class Scope(StrEnum):
    """What a key may do."""

    SCORE = "score"
    READ = "read"


ALL_SCOPES = (Scope.SCORE, Scope.READ)
PAGES = ("/versions", "/metrics", "/docs", "/openapi.json")
"""Pages of which the config says whether they need a key."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key; the key itself is nowhere kept."""

    digest: str
    """SHA-256, in lower-case hexadecimal."""
    scopes: tuple[Scope, ...] = ALL_SCOPES


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask what. Part of the routes table."""

    keys: tuple[ApiKey, ...] = ()
    """Without any, everything is open."""
    protect: tuple[str, ...] = PAGES
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may ask from a browser; "*" for all."""


def digest_of(key: str) -> str:
    """Return the digest under which a key is kept."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def line_of(key: ApiKey) -> str:
    """Return the key's line in a keys file."""
    return f"{PREFIX}{key.digest} {','.join(key.scopes)}"


def parse_line(line: str) -> ApiKey | None:
    """Read one line of a keys file, `sha256:DIGEST [SCOPES] [# comment]`; None if it is blank.

    Raises:
        ValueError: it is not such a line; the message never holds what may be a key.
    """
    words = line.partition("#")[0].split()
    if not words:
        return None
    if len(words) > 2:
        raise ValueError("has more than a digest and scopes; a comment begins with #")
    scopes = _scopes(words[1].split(",")) if len(words) == 2 else ALL_SCOPES
    return ApiKey(_digest(words[0]), scopes)


def parse_entries(text: str) -> tuple[ApiKey, ...]:
    """Read keys as the environment brings them: `KEY[:SCOPE]` or `sha256:DIGEST[:SCOPE]`, `,`.

    Raises:
        ValueError: an entry is none of these; the message never holds a key.
    """
    return tuple(_entry(entry.strip()) for entry in text.split(",") if entry.strip())


def access_json(access: Access) -> dict[str, object]:
    """Return the JSON object of routes.json."""
    return {
        "keys": [{"digest": key.digest, "scopes": list(key.scopes)} for key in access.keys],
        "protect": list(access.protect),
        "cors_origins": list(access.cors_origins),
    }


def access_from(obj: Mapping[str, object]) -> Access:
    """Read what `access_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is not that.
    """
    keys, protect, origins = obj["keys"], obj["protect"], obj["cors_origins"]
    if not (isinstance(keys, list) and isinstance(protect, list) and isinstance(origins, list)):
        raise TypeError("routes.json: access: keys, protect and cors_origins must be lists")
    return Access(
        keys=tuple(ApiKey(str(key["digest"]), tuple(map(Scope, key["scopes"]))) for key in keys),
        protect=tuple(map(str, protect)),
        cors_origins=tuple(map(str, origins)),
    )


def _entry(entry: str) -> ApiKey:
    scopes: tuple[Scope, ...] = ALL_SCOPES
    for scope in Scope:
        if entry.endswith(f":{scope}"):
            entry, scopes = entry.removesuffix(f":{scope}"), (scope,)
    if entry.startswith(PREFIX):
        return ApiKey(_digest(entry), scopes)
    if len(entry) < SHORTEST_KEY:
        raise ValueError(f"a key has fewer than {SHORTEST_KEY} characters: it could be guessed")
    return ApiKey(digest_of(entry), scopes)


def _digest(word: str) -> str:
    digest = word.removeprefix(PREFIX)
    if not word.startswith(PREFIX) or len(digest) != 64 or not _HEXADECIMAL.issuperset(digest):
        raise ValueError(f"does not begin with {PREFIX} and 64 hexadecimal digits")
    return digest


def _scopes(words: list[str]) -> tuple[Scope, ...]:
    known = {scope.value: scope for scope in Scope}
    if not set(words) <= set(known):
        raise ValueError("has an unknown scope; there are: score, read")
    return tuple(known[word] for word in dict.fromkeys(words))
