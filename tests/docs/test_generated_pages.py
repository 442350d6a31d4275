"""The pages that follow from the code are those in docs/."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate.__main__ import pages
from docs.generate.configuration import SHIPPED, told_keys, words
from rerank_server.config import VersionConfig


@pytest.mark.parametrize(
    ("path", "text"), pages().items(), ids=lambda one: getattr(one, "name", "")
)
def test_a_generated_page_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, "run: python -m docs.generate"


def test_every_key_and_every_verb_has_its_place() -> None:
    made = {path.name: text for path, text in pages().items()}

    keys = {one.key[-1] for one in told_keys(SHIPPED.read_text())}
    assert all(f"| `{key}` |" in made["configuration.md"] for key in keys)
    assert "## rerank-server check" in made["cli.md"]
    assert "--detached" not in made["cli.md"]


def test_a_documented_key_without_a_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="no meaning: # port: 8000"):
        list(told_keys("# port: 8000\n"))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("enabled", "`true` or `false`"),
        ("endpoint", "text, or null"),
        ("batch_size", "whole number, 1 to 4096, or null"),
        ("start_timeout_s", "number, above 0 to 86400"),
        ("replace", "`auto`, `overlap` or `stop_first`"),
        ("env", "names and their texts"),
    ],
)
def test_what_a_value_may_be_is_said_in_words(key: str, expected: str) -> None:
    field = VersionConfig.model_fields[key]

    assert words(field.annotation, field.metadata) == expected
