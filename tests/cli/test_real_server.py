"""The verbs that ask a running server, against a real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.catalog.conftest import Index
from tests.cli.conftest import Done, finished
from tests.process.server import Server

pytestmark = pytest.mark.process


@pytest.fixture
def server(short_dir: Path) -> Iterator[Server]:
    server = Server(short_dir)
    yield server
    server.close()


def verb(server: Server, *words: str, **environ: str) -> Done:
    return finished(server.argv(*words), environ)


def generation(server: Server) -> object:
    return server.state()["generation"]


# --- reload ---------------------------------------------------------------------------------


def test_a_dry_run_tells_what_the_reload_then_does(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2": {}, "v3": {}})
    server.start()
    pids = [server.pid_of(name) for name in ("v1", "v2", "v3")]
    server.configure("v1", {"v1": {}, "v2": {"batch_size": 4}, "v3": {"enabled": False}, "v4": {}})
    expected = ["started: v4", "replaced: v2", "stopped: v3", "kept: v1"]

    assert verb(server, "reload", "--dry-run") == Done(0, expected, [])
    assert [server.pid_of(name) for name in ("v1", "v2", "v3")] == pids
    assert generation(server) == 1

    assert verb(server, "reload") == Done(0, expected, [])
    assert generation(server) == 2
    assert verb(server, "reload", "--dry-run") == Done(0, ["kept: v1, v2, v4"], [])


def test_a_dry_run_of_a_version_without_files_is_1_with_the_reason(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    server.configure("v1", {"v1": {}, "v2": {}})
    (server.models_dir / "v2" / "rerank.py").unlink()

    done = verb(server, "reload", "--dry-run")

    assert done == Done(1, ["kept: v1"], ["v2: no model files; run: rerank-server pull v2"])


def test_a_dry_run_of_an_invalid_config_is_3_with_every_problem(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    server.config_path.write_text("default_version: v1\nversions: {v1: {batch_size: 0}}\nporrt: 1")

    done = verb(server, "reload", "--dry-run")

    assert (done.code, done.out, len(done.err)) == (3, [], 2)
    assert server.state()["config_error"] is None


def test_reload_without_a_wait_tells_the_server_and_returns(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    server.configure("v1", {"v1": {}, "v2": {}})

    done = verb(server, "reload", "--no-wait")

    assert (done.code, done.out) == (0, [])
    assert done.err[0].startswith("told (PID: ")
    server.wait_version("v2", "RUNNING")


# --- install at the start, reset ------------------------------------------------------------


@pytest.fixture
def background(server: Server) -> Iterator[Server]:
    """A server that is to be started in the background by its own verb."""
    yield server
    verb(server, "stop")


def test_start_installs_what_is_missing_and_what_fails_is_the_versions_reason(
    background: Server,
) -> None:
    server = background
    index = Index(server.root / "index")
    index.directory.mkdir()
    index.add("tinylib", {"tinylib.py": b"SCORE = 0.25\n"})
    pip = {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index.directory),
    }
    server.configure("v1", {"v1": {}, "v2": {}, "v3": {"source": "v2"}})
    for name, release in (("v1", "1.0"), ("v2", "7.0")):
        (server.models_dir / name / "requirements.txt").write_text(f"tinylib=={release}\n")
    (server.models_dir / "v1" / "rerank.py").write_text(
        "import tinylib\ndef rerank(query, docs):\n    return [tinylib.SCORE for _ in docs]\n"
    )

    done = verb(server, "start", "--config", str(server.config_path),
                "--state-dir", str(server.state_dir), **pip)  # fmt: skip

    assert done.code == 0
    reason = (
        "its requirements could not be installed: requirements.txt: Could not find a version "
        "that satisfies the requirement tinylib==7.0 (from versions: 1.0) | No matching "
        "distribution found for tinylib==7.0; run: rerank-server install v2"
    )
    shown = verb(server, "status").out
    assert shown[1:] == [f"v2: FAILED ({reason})", f"v3: FAILED ({reason})"]
    assert server.rerank("/rerank/v1").json()["scores"] == [0.25, 0.25]

    (server.models_dir / "v2" / "requirements.txt").write_text("tinylib==1.0\n")
    models = ("--config", str(server.config_path))
    assert finished([*server.argv("install", "v3")[:-2], *models], pip).code == 0
    assert verb(server, "reload").out == ["started: v2, v3", "kept: v1"]


def test_a_server_in_the_foreground_installs_before_it_serves(server: Server) -> None:
    index = Index(server.root / "index")
    index.directory.mkdir()
    index.add("tinylib", {"tinylib.py": b"SCORE = 0.25\n"})
    server.configure("v1", {"v1": {}})
    (server.models_dir / "v1" / "requirements.txt").write_text(
        f"--no-index\n--find-links {index.directory}\ntinylib\n"
    )

    server.start()

    assert server.version("v1")["state"] == "RUNNING"
    assert "v1: Installing collected packages: tinylib" in server.logs()


def test_reset_starts_a_repaired_version_that_had_failed(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2": {}})
    needed = server.root / "needed"
    (server.models_dir / "v2" / "rerank.py").write_text(
        f"open({str(needed)!r})\ndef rerank(query, docs):\n    return [0.5 for _ in docs]\n"
    )
    server.start()
    assert server.version("v2")["state"] == "FAILED"
    needed.touch()

    done = verb(server, "reset", "v2")

    assert (done.code, done.err) == (0, [])
    assert server.version("v2")["state"] == "RUNNING"
    assert verb(server, "reset", "v9") == Done(
        1, [], ["error: refused: no version 'v9' here; there are: v1, v2"]
    )
    server.configure("v1", {"v1": {}, "v2": {"enabled": False}})
    assert verb(server, "reset", "v2") == Done(
        1,
        [],
        ["error: refused: v2 is disabled; set versions.v2.enabled to true, then reload"],
    )


# --- probe ----------------------------------------------------------------------------------


def test_probe_judges_a_live_version(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2": {}, "v3": {"enabled": False}})
    (server.models_dir / "v2" / "rerank.py").write_text(
        "def rerank(query, docs):\n    return [0.1 * place for place in range(len(docs))]\n"
    )
    server.start()

    good = verb(server, "probe", "v1")
    as_json = verb(server, "probe", "v1", "--json")

    assert (good.code, good.err) == (0, [])
    assert good.out[0].startswith("v1: healthy (v1.1: 0.5000, 0.4990, 0.4980 in ")
    assert json.loads("\n".join(as_json.out))["status"] == "ok"
    assert verb(server, "probe", "v2") == Done(
        1,
        [],
        [
            "error: v2: v2.1: the document that answers the question did not come first: "
            "0, 0.1, 0.2 (HTTP 503)"
        ],
    )
    assert verb(server, "probe", "v3") == Done(1, [], ["error: v3: DISABLED"])
    assert verb(server, "probe", "v4").code == 2


# --- logs, events ---------------------------------------------------------------------------


def test_events_tell_each_change_with_its_cause(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2": {"env": {"TEST_MODE": "fail at import"}}})
    server.start()

    state = ("--state-dir", str(server.state_dir))
    told = [line[21:] for line in verb(server, "events", *state).out]
    kept = [json.loads(line) for line in verb(server, "events", "--json", *state).out]

    assert told[0] == f"server  server started config={server.config_path}"
    assert "v1.1  STARTING -> RUNNING  (generation 1, start)" in told
    assert "default  v1  (generation 1, start)" in told
    assert any(line.startswith("v2  FAILED  (generation 1, start): ") for line in told)
    assert kept == server.events()


def test_logs_show_each_process_and_find_the_running_servers_place(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    (server.models_dir / "v1" / "rerank.py").write_text(
        "import sys\nprint('hello from the model', file=sys.stderr)\n"
        "def rerank(query, docs):\n    return [0.5 for _ in docs]\n"
    )
    server.start()

    everything = verb(server, "logs")
    only = verb(server, "logs", "v1", "-n", "1000")

    assert everything.code == 0
    assert [line for line in everything.out if line.startswith("==>")] == [
        "==> gateway <==",
        "==> v1 <==",
    ]
    assert "hello from the model" in only.out
    assert not any(line.startswith("==>") for line in only.out)
