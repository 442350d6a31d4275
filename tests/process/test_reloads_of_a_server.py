"""Reload and rollback, through the real supervisor."""

from __future__ import annotations

import pytest

from tests.process.server import Server

pytestmark = pytest.mark.process

TWO = {
    "v1": {"env": {"TEST_SCORE": "0.1"}},
    "v2": {"env": {"TEST_SCORE": "0.2"}},
}


def test_reload_starts_and_stops_only_what_changed(server: Server) -> None:
    server.configure("v1", {**TWO, "v3": {"enabled": False}})
    server.start()
    kept = server.pid_of("v1")

    server.configure("v1", {"v1": TWO["v1"], "v2": {"enabled": False}, "v3": {}})
    done = server.cli("reload")

    assert done.returncode == 0, done.stderr
    assert server.pid_of("v1") == kept
    assert server.version("v2")["state"] == "DISABLED"
    assert server.version("v3")["state"] == "RUNNING"
    for word in ("v3", "v2", "v1"):
        assert word in done.stdout


def test_bad_reload_keeps_everything_and_says_why(server: Server) -> None:
    server.configure("v1", TWO)
    server.start()
    pids = [server.pid_of(name) for name in TWO]

    server.config_path.write_text(server.config_path.read_text() + "\ndefalt_version: v2\n")
    refused = server.cli("reload")

    assert refused.returncode == 3
    assert "default_version" in refused.stderr
    assert [server.pid_of(name) for name in TWO] == pids
    assert "defalt_version" in str(server.state()["config_error"])


def test_a_default_that_cannot_start_leaves_the_old_one_serving(server: Server) -> None:
    server.configure("v1", {"v1": TWO["v1"], "v2": {"enabled": False}})
    server.start()

    broken = {"env": {"TEST_MODE": "fail at import"}}
    server.configure("v2", {"v1": {"enabled": False, **TWO["v1"]}, "v2": broken})
    failed = server.cli("reload")
    answer = server.rerank()

    assert failed.returncode == 1
    assert "frobnicate" in failed.stdout + failed.stderr
    assert answer.status_code == 200
    assert answer.headers["X-Rerank-Version"] == "v1"
    assert server.state()["default"] == "v1"


def test_a_replaced_file_is_a_change(server: Server) -> None:
    server.configure("v1", TWO)
    server.start()
    old, kept = server.pid_of("v2"), server.pid_of("v1")

    code = server.models_dir / "v2" / "rerank.py"
    fresh = code.with_name("rerank.py.new")
    fresh.write_text(code.read_text() + "\n# fine-tuned\n")
    fresh.replace(code)
    done = server.cli("reload")

    assert done.returncode == 0, done.stderr
    assert server.pid_of("v2") != old
    assert server.pid_of("v1") == kept


def test_rollback_returns_to_the_config_before_and_keeps_what_stood_there(server: Server) -> None:
    server.configure("v1", TWO)
    server.start()
    first = server.config_path.read_text()
    server.configure("v1", {"v1": TWO["v1"], "v2": {"env": {"TEST_SCORE": "0.4"}}})
    second = server.config_path.read_text()
    assert server.cli("reload").returncode == 0

    done = server.cli("rollback", "--state-dir", str(server.state_dir))

    assert done.returncode == 0, done.stderr
    assert server.config_path.read_text() == first
    assert server.config_path.with_name("config.yaml.before-rollback").read_text() == second
    assert server.rerank("/rerank/v2").json()["scores"][0] == 0.2


def test_generations_go_on_counting_over_a_restart(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    first = server.state()["generation"]
    server.stop()

    server.start()

    assert server.state()["generation"] == first + 1
    unknown = server.cli("rollback", "99", "--state-dir", str(server.state_dir))
    assert unknown.returncode == 1
    assert "there are 1 to 2" in unknown.stderr
