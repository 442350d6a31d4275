from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core.access import (
    ALL_SCOPES,
    Access,
    ApiKey,
    Scope,
    access_from,
    access_json,
    digest_of,
    line_of,
    parse_entries,
    parse_line,
)

KEY = "rrs_0123456789abcdef"
DIGEST = digest_of(KEY)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("", None),
        ("   # nobody", None),
        (f"sha256:{DIGEST}", ApiKey(DIGEST)),
        (f"  sha256:{DIGEST}\t score  # the RAG team", ApiKey(DIGEST, (Scope.SCORE,))),
        (f"sha256:{DIGEST} read,score", ApiKey(DIGEST, (Scope.READ, Scope.SCORE))),
        (f"sha256:{DIGEST} read,read", ApiKey(DIGEST, (Scope.READ,))),
    ],
)
def test_a_line_of_a_keys_file(line: str, key: ApiKey | None) -> None:
    assert parse_line(line) == key


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (KEY, "does not begin with sha256:"),
        (f"sha256:{DIGEST[:-1]}", "64 hexadecimal digits"),
        (f"sha256:{DIGEST.upper()}x", "64 hexadecimal digits"),
        (f"sha256:{DIGEST} admin", "unknown scope"),
        (f"sha256:{DIGEST} score read", "more than a digest and scopes"),
    ],
)
def test_what_is_no_line_is_said_without_what_may_be_a_key(line: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        parse_line(line)

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (KEY, (ApiKey(DIGEST),)),
        (f" {KEY}:read , sha256:{DIGEST}:score,", (
            ApiKey(DIGEST, (Scope.READ,)), ApiKey(DIGEST, (Scope.SCORE,)),
        )),
        ("", ()),
        (" , ", ()),
    ],
)  # fmt: skip
def test_keys_of_the_environment(text: str, keys: tuple[ApiKey, ...]) -> None:
    assert parse_entries(text) == keys


@pytest.mark.parametrize("text", ["hunter2", f"{KEY},short:read", "sha256:abc"])
def test_a_key_that_could_be_guessed_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"fewer than 16|64 hexadecimal") as caught:
        parse_entries(text)

    assert "hunter2" not in str(caught.value)


@given(st.text(min_size=1), st.sets(st.sampled_from(ALL_SCOPES), min_size=1))
def test_a_key_survives_its_line(text: str, scopes: set[Scope]) -> None:
    key = ApiKey(digest_of(text), tuple(sorted(scopes)))

    assert parse_line(line_of(key)) == key


def test_access_survives_its_way_through_the_file() -> None:
    access = Access((ApiKey(DIGEST, (Scope.READ,)),), ("/metrics",), ("https://a.example",))

    assert access_from(json.loads(json.dumps(access_json(access)))) == access
