"""What a config with a cascade asks for: no files of it are looked at, no process is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank_server.core.traffic import Stage
from rerank_server.core.wanted import Wanted
from rerank_server.supervisor.desired import Overrides, desire

CONFIG = """\
default_version: v2-fast
versions:
  v1: {max_queued_pairs: 500}
  v2: {}
  v2-fast:
    fallback: v2
    request_timeout_s: 7
    cascade: [{version: v1, keep: 20}, {version: v2}]
"""


@pytest.fixture
def asked(tmp_path: Path) -> Wanted:
    """Return what a config with a cascade asks for, in a place without any files."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    return desire(tmp_path / "config.yaml", Overrides(), 1).wanted


def test_a_cascade_has_stages_and_neither_files_nor_a_process(asked: Wanted) -> None:
    fast = asked.versions["v2-fast"]

    assert fast.cascade == (Stage("v1", 20), Stage("v2"))
    assert (fast.specs, fast.problem, fast.fallback) == ((), None, "v2")
    assert asked.versions["v1"].problem is not None


def test_its_limits_are_its_own_and_no_more_documents_than_the_first_queue_takes(
    asked: Wanted,
) -> None:
    limits = asked.versions["v2-fast"].limits

    assert (limits.request_timeout_s, limits.max_docs) == (7, 500)


def test_a_disabled_cascade_may_name_what_is_not_there(tmp_path: Path) -> None:
    stages = "[{version: v8, keep: 2}, {version: v9}]"
    (tmp_path / "config.yaml").write_text(
        f"default_version: v1\nversions: {{v1: {{}}, v2: {{enabled: false, cascade: {stages}}}}}\n"
    )

    asked = desire(tmp_path / "config.yaml", Overrides(), 1).wanted

    assert asked.versions["v2"].cascade == (Stage("v8", 2), Stage("v9"))
