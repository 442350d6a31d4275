from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank_server.errors import AlreadyRunningError, RunDirError
from rerank_server.supervisor.lock import RunLock, Running, is_held, start_ticks, who_runs
from rerank_server.supervisor.rundir import RunDir

HOLDER = Path(__file__).parent / "holder.py"
Spawn = Callable[..., "subprocess.Popen[str]"]


def hold(spawn: Spawn, run: RunDir) -> subprocess.Popen[str]:
    """Start a process that holds the lock of `run` and says each signal it gets."""
    process = spawn(HOLDER, run.path)
    assert said(process) == "held"
    return process


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def own_ticks() -> int:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    return ticks


def test_nobody_runs_where_there_is_nothing(run: RunDir) -> None:
    assert who_runs(run) is None
    assert who_runs(RunDir(run.path / "absent")) is None
    assert who_runs(RunDir(run.path / "absent" / "deeper")) is None


def test_the_holder_is_found_and_a_second_one_is_refused_by_its_pid(
    spawn: Spawn, run: RunDir
) -> None:
    holder = hold(spawn, run)

    assert who_runs(run) == Running(holder.pid, start_ticks(holder.pid) or 0)
    with pytest.raises(AlreadyRunningError, match=rf"already runs on .* \(PID: {holder.pid}\)"):
        RunLock.take(run)


def test_a_lock_let_go_is_free_and_the_pid_file_is_gone(run: RunDir) -> None:
    with RunLock.take(run) as lock:
        assert who_runs(run) == Running(os.getpid(), own_ticks())
        lock.release()

    assert who_runs(run) is None
    assert not run.pid.exists()
    RunLock.take(run).release()


def test_what_a_killed_server_left_is_no_obstacle(spawn: Spawn, run: RunDir) -> None:
    holder = hold(spawn, run)
    holder.kill()
    holder.wait()

    assert run.pid.exists()
    assert who_runs(run) is None
    with RunLock.take(run):
        assert who_runs(run) == Running(os.getpid(), own_ticks())


def test_a_recycled_pid_is_not_taken_for_the_server(run: RunDir) -> None:
    recycled = Running(os.getpid(), own_ticks() - 1)
    run.pid.write_text(f"{recycled.pid} {recycled.start_ticks}\n")
    run.lock.touch()

    assert who_runs(run) is None
    assert recycled.signal(signal.SIGKILL) is False
    assert recycled.wait(10) is True


def test_a_lock_held_by_a_process_out_of_sight_is_an_error_of_its_own(run: RunDir) -> None:
    with run.lock.open("w") as stranger:
        fcntl.flock(stranger, fcntl.LOCK_EX)
        run.pid.write_text("not a pid\n")

        with pytest.raises(RunDirError, match="may run in another container"):
            who_runs(run, settle_s=0.1)
        with pytest.raises(AlreadyRunningError, match=f"already runs on {run.path}$"):
            RunLock.take(run, settle_s=0.1)


def test_asking_who_runs_never_keeps_a_server_from_starting(run: RunDir) -> None:
    run.lock.touch()
    asked_enough = threading.Event()

    def ask() -> None:
        while not asked_enough.is_set():
            is_held(run)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(50):
            RunLock.take(run).release()
    finally:
        asked_enough.set()
        asking.join()


def test_a_spawned_process_does_not_inherit_the_lock(run: RunDir) -> None:
    with RunLock.take(run):
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
        )

    try:
        assert who_runs(run) is None
    finally:
        child.communicate()


def test_a_signal_reaches_the_holder_and_its_end_is_seen(spawn: Spawn, run: RunDir) -> None:
    holder = hold(spawn, run)
    running = who_runs(run)
    assert running is not None

    assert running.wait(0) is False
    assert running.signal(signal.SIGHUP) is True
    assert said(holder) == "SIGHUP"
    assert running.signal(signal.SIGTERM) is True
    assert running.wait(10) is True
    holder.wait()
    assert running.signal(signal.SIGTERM) is False
    assert who_runs(run) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_run_dir_or_a_process_of_another_user_is_named_as_such(run: RunDir) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from rerank_server.errors import RunDirError\n"
        "from rerank_server.supervisor.lock import Running, start_ticks, who_runs\n"
        "from rerank_server.supervisor.rundir import RunDir\n"
        "os.setuid(65534)\n"
        "parent = os.getppid()\n"
        "for act in (lambda: who_runs(RunDir(Path(sys.argv[1]))),\n"
        "            lambda: Running(parent, start_ticks(parent)).signal(signal.SIGTERM)):\n"
        "    try:\n"
        "        act()\n"
        "    except RunDirError as error:\n"
        "        print(error)\n"
    )
    run.lock.touch()

    done = subprocess.run(
        [sys.executable, "-c", script, str(run.path)], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == [
        f"{run.lock}: cannot be opened: Permission denied",
        f"process {os.getpid()} belongs to another user; run this as that user",
    ]
