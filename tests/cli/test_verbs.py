from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Fake, finished, program
from tests.core.state_json import instance, seed, state, version


def started(fake: Fake, picture: dict[str, object]) -> None:
    picture["time"] = time.time()
    fake.tell(state=picture)
    assert fake.start(wait="0").code in (0, 1)


# --- status ---------------------------------------------------------------------------------


def test_status_prints_the_lines_of_the_requirement(fake: Fake) -> None:
    started(fake, seed())

    assert fake.command("status") == Done(
        0,
        [
            "v2-m3: RUNNING (PID: 1234, GPU: 0)",
            "v2-gemma: RUNNING (PID: 1235, GPU: 0)",
            "v1: RUNNING (PID: 1236, CPU)",
        ],
        [],
    )


def test_status_is_1_when_the_default_does_not_serve_and_warns_beside(fake: Fake) -> None:
    started(fake, state(version("v2-m3", "FAILED", reason="bad"), config_error="config.yaml:3: x"))

    assert fake.command("status") == Done(
        1,
        ["v2-m3: FAILED (bad)"],
        ["warning: the config as it is now was refused: config.yaml:3: x"],
    )


def test_status_verbose_adds_the_figures(fake: Fake) -> None:
    started(fake, seed())

    done = fake.command("status", "-v")

    assert done.code == 0
    assert done.out[0].startswith(f"server: http://127.0.0.1:8000 (PID: {fake.pid()}, up ")
    assert "  memory    612 MB                    p95       12.3 ms" in done.out


def test_status_json_is_one_object_on_stdout(fake: Fake) -> None:
    started(fake, seed())

    done = fake.command("status", "--json")

    assert done.code == 0
    shown = json.loads("\n".join(done.out))
    assert (shown["pid"], shown["default_serves"]) == (fake.pid(), True)


def test_status_before_the_first_state_says_so(fake: Fake) -> None:
    picture = seed()
    fake.tell(state=picture)
    fake.start()
    fake.options.run.state.unlink()

    assert fake.command("status") == Done(
        1, [], [f"error: the server (PID: {fake.pid()}) has not published its state yet"]
    )


def test_status_of_a_server_of_another_release_says_so(fake: Fake) -> None:
    started(fake, seed())
    fake.options.run.state.write_text('{"schema": 99}')

    done = fake.command("status")

    assert done.code == 1
    assert done.err == [
        f"error: {fake.options.run.state}: schema 99, this release reads 1; "
        "was the server started by another release? restart it"
    ]


@pytest.mark.parametrize(
    "verb",
    [
        ["status"],
        ["stop"],
        ["reload"],
        ["restart"],
        ["restart", "v1"],
        ["compare", "q", "d"],
        ["reset", "v1"],
        ["probe", "v1"],
        ["reload", "--dry-run"],
        ["reload", "--no-wait"],
    ],
)
def test_every_verb_for_a_server_says_with_4_that_none_runs(fake: Fake, verb: list[str]) -> None:
    where = fake.options.run.path

    assert fake.command(*verb) == Done(
        4,
        [],
        [
            f"error: no server runs on {where}; "
            f"start one with: rerank-server start --run-dir {where}"
        ],
    )


# --- stop -----------------------------------------------------------------------------------


def test_stop_returns_when_server_workers_and_lock_are_gone(fake: Fake) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as worker:
        started(fake, state(version("v2-m3", "RUNNING", instance("v2-m3", 1, worker.pid))))
        pid = fake.pid()

        still = fake.command("stop", "--timeout", "0.3")
        assert still.err[-1] == (
            f"error: process {worker.pid} still runs after 0.3 s; it is told to stop"
        )
        assert (still.code, still.err[0]) == (1, f"stopping (PID: {pid})")
        assert fake.running() is None
        worker.communicate()


def test_stop_of_a_server_says_how_long_it_took(fake: Fake) -> None:
    started(fake, seed())

    done = fake.command("stop")

    assert done.code == 0
    assert done.out[0].startswith("stopped after ")
    assert fake.command("stop").code == 4


# --- reload, restart VERSION ----------------------------------------------------------------


def test_reload_prints_what_it_did(fake: Fake) -> None:
    started(fake, seed())
    fake.tell(outcome={"verdict": "applied", "generation": 2, "started": ["v1", "v2-gemma"],
                       "stopped": ["v0"], "kept": ["v2-m3"], "reasons": {}})  # fmt: skip

    assert fake.command("reload") == Done(
        0, ["started: v1, v2-gemma", "stopped: v0", "kept: v2-m3"], []
    )


def test_a_reload_that_failed_is_1_with_each_reason(fake: Fake) -> None:
    started(fake, seed())
    fake.tell(outcome={"verdict": "failed", "generation": 2, "kept": ["v2-m3"],
                       "reasons": {"v1": "bad weights"}})  # fmt: skip

    assert fake.command("reload") == Done(1, ["kept: v2-m3"], ["v1: bad weights", "error: failed"])


def test_a_reload_of_an_invalid_config_is_3_with_every_problem(fake: Fake) -> None:
    started(fake, seed())
    fake.tell(outcome={"verdict": "refused", "generation": 1, "reasons": {},
                       "error": "config.yaml:1: a\nconfig.yaml:2: b"})  # fmt: skip

    assert fake.command("reload") == Done(
        3, [], ["error: config.yaml:1: a", "error: config.yaml:2: b"]
    )


def test_a_reload_that_another_one_superseded_is_1(fake: Fake) -> None:
    started(fake, seed())
    fake.tell(outcome={"verdict": "superseded", "generation": 1, "reasons": {}, "error": "newer"})

    assert fake.command("reload") == Done(1, [], ["error: superseded: newer"])


def test_restart_of_one_version_is_asked_of_the_server(fake: Fake) -> None:
    started(fake, seed())
    fake.tell(outcome={"verdict": "refused", "generation": 1, "error": "no version 'v9' here"})

    assert fake.command("restart", "v9") == Done(
        1, [], ["asked: restart v9", "error: refused: no version 'v9' here"]
    )


def test_a_reload_not_answered_in_time_is_1_and_says_the_server_goes_on(fake: Fake) -> None:
    started(fake, seed())
    os.kill(fake.pid(), signal.SIGSTOP)

    done = fake.command("reload", "--timeout", "0.2")

    assert done == Done(
        1, [], ["error: The server did not answer in time; it goes on. See: rerank-server status."]
    )


def test_a_server_not_put_in_the_background_by_us_is_not_restarted_as_a_whole(
    fake: Fake, short_dir: Path
) -> None:
    script = short_dir / "other.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "from rerank_server.supervisor.lock import RunLock\n"
        "from rerank_server.supervisor.rundir import RunDir, prepare_run_dir\n"
        "run = RunDir(pathlib.Path(sys.argv[1]))\n"
        "prepare_run_dir(run, os.getuid())\n"
        "with RunLock.take(run):\n"
        "    print('held', flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script), str(fake.options.run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"

        done = fake.command("restart")

        assert fake.pid() == other.pid
        other.communicate(b"\n")
    assert done.code == 1
    assert done.err == [
        f"error: the server (PID: {other.pid}) runs in the foreground of something else; "
        "restart it there, or one version with: rerank-server restart VERSION"
    ]


# --- version, usage, config -----------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_is_printed(arguments: list[str]) -> None:
    assert finished(program(*arguments)) == Done(0, ["rerank-server 0.1.0"], [])


@pytest.mark.parametrize(
    ("arguments", "first", "hint"),
    [
        (["statsu"], "no such command 'statsu'. Did you mean 'status'", "rerank-server --help"),
        (["start", "--prot", "1"], "no such option: --prot", "rerank-server start --help"),
        (["start", "--port", "99999"], "invalid value for '--port'", "rerank-server start --help"),
        (["compare", "query"], "compare needs QUERY and DOCs", "rerank-server compare --help"),
        (["pull"], "missing argument", "rerank-server pull --help"),
        (["status", "extra"], "got unexpected extra argument", "rerank-server status --help"),
    ],
)
def test_a_usage_error_is_2_with_one_line_and_a_hint(
    arguments: list[str], first: str, hint: str
) -> None:
    done = finished(program(*arguments))

    assert (done.code, done.out, len(done.err)) == (2, [], 2)
    assert done.err[0].startswith(f"error: {first}")
    assert done.err[1] == f"hint: {hint}"


def test_start_without_a_config_is_3_and_lists_where_it_looked(short_dir: Path) -> None:
    done = finished([sys.executable, "-c", IN, str(short_dir), "start"])

    assert done == Done(
        3,
        [],
        [
            "error: no configuration: looked at /opt/bge-rerankers/config.yaml, "
            f"{short_dir}/etc/config.yaml; name one with --config, "
            "or write one with: rerank-server init --config"
        ],
    )


IN = (
    "import os, sys\n"
    "from rerank_server.__main__ import main\n"
    "os.chdir(sys.argv[1])\n"
    "main(sys.argv[2:])\n"
)


def test_pull_of_an_unknown_version_is_one_line(short_dir: Path) -> None:
    done = finished(program("pull", "v9-nothing", "--models-dir", str(short_dir)))

    assert (done.code, done.out, len(done.err)) == (1, [], 1)
    assert done.err[0].startswith("error: ")
    assert "v9-nothing" in done.err[0]


def test_pull_takes_the_models_directory_of_the_config(fake: Fake) -> None:
    fake.options.config.write_text("models_dir: 3\n")

    done = finished(program("pull", "v2-minilm", "--config", str(fake.options.config)))

    assert done.code == 3


def test_a_reader_that_goes_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        done = subprocess.run(
            program("--help"), stdout=closed, stderr=subprocess.PIPE, check=False, timeout=30
        )

    assert (done.returncode, done.stderr) == (1, b"")


def test_help_needs_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from rerank_server import cli\n"
        "cli.invoke(['--help'])\n"
        "heavy = {'pydantic', 'yaml', 'httpx', 'rich', 'torch', 'numpy', 'asyncio', 'psutil'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )

    assert finished([sys.executable, "-c", script]).err == ["[]"]


def test_every_verb_has_a_short_line_of_help() -> None:
    done = finished(program("--help"))

    commands = done.out[done.out.index("Commands:") + 1 :]
    verbs = [line.split(None, 1) for line in commands if line]
    assert [verb for verb, _ in verbs if verb != "Exit"] == [
        "start", "status", "stop", "restart", "reload", "rollback", "reset", "move", "traffic",
        "compare", "probe", "logs", "events", "init", "pull", "install", "check", "verify",
        "optimize", "export", "key", "config", "version", "rollout",
    ]  # fmt: skip
    assert not [line for line in commands if line.endswith("...")]
