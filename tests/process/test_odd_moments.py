"""What an operator or an accident does at an odd moment."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time

from tests.process.server import READY_S, Server


def test_a_bell_that_rings_before_the_server_listens_for_it_ends_nothing(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    pid, deadline = server.run_dir / "pid", time.monotonic() + READY_S

    server.spawn()
    assert server.process is not None
    while not pid.exists():  # without a pause: it listens some milliseconds later
        assert time.monotonic() < deadline
    server.process.send_signal(signal.SIGHUP)

    server.wait_version("v1", "RUNNING")


def test_a_rollback_keeps_link_permissions_and_owner_and_finds_the_state_dir(
    server: Server,
) -> None:
    server.configure("v1", {"v1": {}})
    first = server.config_path.read_text()
    real = server.config_path.rename(server.root / "real.yaml")
    server.config_path.symlink_to(real)
    server.start()
    real.write_text(first + "# another\nlast_resort: none\n")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 65534, 65534)
    owner = (real.stat().st_uid, real.stat().st_gid)
    assert server.cli("reload").returncode == 0

    done = server.cli("rollback")

    assert done.returncode == 0, done.stderr
    assert server.config_path.is_symlink()
    assert real.read_text() == first
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert (real.stat().st_uid, real.stat().st_gid) == owner


def test_a_rollback_of_a_refused_config_brings_back_the_one_that_runs(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    server.configure("v1", {"v1": {}}, last_resort="none")
    assert server.cli("reload").returncode == 0
    second = server.config_path.read_text()
    server.config_path.unlink()
    assert server.cli("reload").returncode == 3

    done = server.cli("rollback")

    assert done.returncode == 0, done.stderr
    assert server.config_path.read_text() == second


def test_a_config_is_taken_on_that_a_full_disk_cannot_keep(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    shutil.rmtree(server.state_dir / "configs")
    (server.state_dir / "configs").touch()  # fails as a full disk does
    server.configure("v1", {"v1": {}, "v2": {}})

    done = server.cli("reload")

    assert (done.returncode, done.stdout) == (0, "started: v2\nkept: v1\n"), done.stderr


def test_a_pipe_in_the_place_of_the_config_is_refused_and_blocks_nobody(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    server.config_path.unlink()
    os.mkfifo(server.config_path)

    done = server.cli("reload")

    assert (done.returncode, done.stdout) == (3, "")
    assert "is a pipe; it must be a file" in done.stderr


def test_directories_left_in_the_run_dir_do_not_stop_the_next_start(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    strays = [server.run_dir / name for name in ("w/a", "requests/b", "state.json", "routes.json")]
    for stray in strays:
        (stray / "inner").mkdir(parents=True)

    server.spawn()
    server.until(strays[2].is_file, "it has published its state")
    server.wait_version("v1", "RUNNING")

    assert not (strays[0].exists() or strays[1].exists())
    assert strays[2].is_file()
    assert strays[3].is_file()
    said = (server.root / "supervisor.log").read_text()
    assert said.count("a stray directory is removed") == len(strays)
