from collections.abc import Callable

import pytest

from rerank_server.config import parse
from rerank_server.errors import ConfigError

ProblemsOf = Callable[[str], list[str]]


@pytest.fixture
def problems_of() -> ProblemsOf:
    """Return what a bad text's problems are, as people read them."""

    def problems(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            parse(text, path="config.yaml")
        return caught.value.problems

    return problems


@pytest.fixture
def good() -> str:
    """Six lines; a test's own lines start at line 7, inside v1 when indented."""
    return """\
default_version: v2-m3
versions:
  v2-m3:
    enabled: true
  v1:
    endpoint: /rerank/v1
"""
