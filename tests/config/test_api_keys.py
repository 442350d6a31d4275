"""Where API keys come from, and that a mistake there opens nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank_server.core.access import ApiKey, Scope, digest_of
from rerank_server.errors import ConfigError
from rerank_server.supervisor.desired import Overrides, desire
from rerank_server.supervisor.keys import read_keys

KEY = "rrs_0123456789abcdef"
LINE = f"sha256:{digest_of(KEY)} score # the RAG team\n"
CONFIG = "default_version: v1\nversions: {v1: {}}\nserver:\n  api_keys_file: keys.txt\n"


def test_keys_come_from_the_file_beside_the_config_and_from_the_environment(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "keys.txt").write_text(LINE)

    desired = desire(tmp_path / "config.yaml", Overrides(api_keys=f"{KEY}:read"), 1)

    assert desired.access.keys == (
        ApiKey(digest_of(KEY), (Scope.SCORE,)),
        ApiKey(digest_of(KEY), (Scope.READ,)),
    )


def test_without_either_there_are_none() -> None:
    assert read_keys(None, None) == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        (b"", "holds no key"),
        (b"# nobody yet\n", "holds no key"),
        (LINE.encode() + b"hunter2\n", "keys.txt:2: does not begin with sha256:"),
        (b"\xff\n", "not UTF-8"),
    ],
)
def test_a_broken_file_of_keys_is_refused(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "keys.txt").write_bytes(content)

    with pytest.raises(ConfigError, match=problem) as caught:
        read_keys(tmp_path / "keys.txt", None)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("entries", "problem"), [("", "holds no key"), ("hunter2", "guessed")])
def test_a_broken_variable_is_refused(entries: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"RERANK_SERVER_API_KEYS: .*{problem}"):
        read_keys(None, entries)
