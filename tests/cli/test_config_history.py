"""The accepted configs in the state dir: numbered over all config files, kept for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank_server.errors import RunDirError
from rerank_server.supervisor.history import KEPT, ConfigHistory

HERE, THERE = Path("/etc/here.yaml"), Path("/etc/there.yaml")


def test_a_config_file_has_no_generations_of_another(tmp_path: Path) -> None:
    here, there = ConfigHistory(tmp_path, HERE), ConfigHistory(tmp_path, THERE)
    there.accept(1, "a")
    here.accept(2, "b")
    there.accept(2, "c")

    assert (here.generations(), there.generations()) == ((2,), (1, 2))
    assert here.next_generation() == 3
    assert (here.text(2), there.text(2)) == ("b", "c")
    assert here.before(2) is None
    with pytest.raises(RunDirError, match="no config of generation 1; there are 2 to 2"):
        here.text(1)


def test_the_config_before_one_that_could_not_be_kept_is_the_newest_kept(tmp_path: Path) -> None:
    history = ConfigHistory(tmp_path, HERE)
    history.accept(1, "a")
    history.accept(2, "a")

    assert history.before(2) is None
    assert history.before(3) == 2


def test_the_oldest_are_removed(tmp_path: Path) -> None:
    history = ConfigHistory(tmp_path, HERE)
    for generation in range(1, KEPT + 3):
        history.accept(generation, "a")

    assert history.generations() == tuple(range(3, KEPT + 3))


def test_a_disk_that_is_full_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = ConfigHistory(tmp_path / "file", HERE)
    (tmp_path / "file").touch()  # fails as a full disk does

    history.try_accept(1, "a")

    assert caplog.messages == ["a config cannot be kept; no rollback returns to it"]
