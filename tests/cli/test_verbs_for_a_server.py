"""Verbs that ask something of a running server, or find none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Fake, started
from tests.core.state_json import instance, seed, state, version

# --- status ---------------------------------------------------------------------------------


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
        1,
        [],
        [
            "error: the server did not answer in time; it goes on; "
            f"see: rerank-server status --run-dir {fake.options.run.path}"
        ],
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
        "restart it there, or one version with: rerank-server restart VERSION "
        f"--run-dir {fake.options.run.path}"
    ]
