"""The service manager's protocol: a real notify socket, and systemd-socket-activate."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import lack
from tests.process.notify_socket import NotifySocket
from tests.process.server import Server

pytestmark = pytest.mark.process

SLOW = {"env": {"TEST_MODE": "slow", "TEST_SECONDS": "7"}}
PRIVATE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")


@pytest.fixture
def notified(short_dir: Path, server: Server) -> Iterator[NotifySocket]:
    listening = NotifySocket(short_dir / "notify")
    server.environment["NOTIFY_SOCKET"] = listening.address
    yield listening
    listening.close()


def pid_of(server: Server) -> int:
    assert server.process is not None
    return server.process.pid


# --- what it tells ------------------------------------------------------------------------------


def test_ready_is_said_by_the_supervisor_itself_once_the_default_serves(
    server: Server, notified: NotifySocket
) -> None:
    server.configure("v1", {"v1": {}, "v2": SLOW})

    server.spawn()
    ready = notified.until_said("READY")

    assert ready.pid == pid_of(server)
    assert server.rerank().status_code == 200
    assert server.version("v2")["state"] == "STARTING"
    assert "1 of 2 run; default v1" in ready["STATUS"]
    done = notified.until(lambda n: "2 of 2" in n["STATUS"], "all run")
    assert done["STATUS"] == "2 of 2 versions run; default v1"
    assert notified.turns() == ["READY"]


def test_an_abstract_notify_socket_is_reached_too(server: Server) -> None:
    listening = NotifySocket()
    try:
        server.environment["NOTIFY_SOCKET"] = listening.address
        server.configure("v1", {"v1": {}})

        server.spawn()
        listening.until_said("READY")
    finally:
        listening.close()

    assert listening.address.startswith("@")


def test_time_is_asked_for_while_the_default_loads_and_not_after(
    server: Server, notified: NotifySocket
) -> None:
    server.configure("v1", {"v1": SLOW})

    server.spawn()
    first = notified.until_said("EXTEND_TIMEOUT_USEC")
    second = notified.until_said("EXTEND_TIMEOUT_USEC")
    ready = notified.until_said("READY")

    for notice in (first, second):
        assert int(notice["EXTEND_TIMEOUT_USEC"]) == 30_000_000
    assert second["STATUS"].startswith("loading v1 (")
    assert second["STATUS"].endswith("s), 0 of 1 run")
    assert ready["STATUS"] == "1 of 1 version runs; default v1"
    assert "EXTEND_TIMEOUT_USEC" not in ready


def test_a_default_that_cannot_start_ends_in_ready_with_the_reason(
    server: Server, notified: NotifySocket
) -> None:
    server.configure("v1", {"v1": {"env": {"TEST_MODE": "fail at import"}}})

    server.spawn()
    ready = notified.until_said("READY")

    assert ready["STATUS"].startswith("0 of 1 version runs; default v1 does not run; v1: ")
    assert "frobnicate" in ready["STATUS"]


def test_a_reload_is_told_from_its_begin_to_the_new_version_running(
    server: Server, notified: NotifySocket
) -> None:
    server.configure("v1", {"v1": {}, "v2": {"enabled": False}})
    server.spawn()
    notified.until_said("READY")

    server.configure("v1", {"v1": {}, "v2": {}})
    done = server.cli("reload")
    reloading = notified.until_said("RELOADING")
    ready = notified.until_said("READY")

    assert done.returncode == 0, done.stderr
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert ready["STATUS"] == "2 of 2 versions run; default v1"
    assert notified.turns() == ["READY", "RELOADING", "READY"]


def test_a_refused_reload_is_over_at_once_and_stays_visible(
    server: Server, notified: NotifySocket
) -> None:
    server.configure("v1", {"v1": {}})
    server.spawn()
    notified.until_said("READY")

    server.config_path.write_text("nonsense: 1\n")
    done = server.cli("reload")
    notified.until_said("RELOADING")
    ready = notified.until_said("READY")

    assert done.returncode == 3
    assert "the config as it is now was refused" in ready["STATUS"]
    assert notified.turns() == ["READY", "RELOADING", "READY"]


def test_stopping_is_said_once_with_the_time_the_config_gives_it(
    server: Server, notified: NotifySocket
) -> None:
    server.configure("v1", {"v1": {}}, server={"stop_timeout_s": 20, "shutdown_delay_s": 1})
    server.spawn()
    notified.until_said("READY")

    assert server.stop() == 0
    stopping = notified.until_said("STOPPING")
    last = notified.until(lambda n: n["STATUS"] == "stopping: workers left: 0", "all are gone")

    assert int(stopping["EXTEND_TIMEOUT_USEC"]) == 31_000_000
    assert last.pid == pid_of(server)
    assert notified.turns() == ["READY", "STOPPING"]


def test_the_watchdog_is_fed_by_this_process_and_starves_when_the_loop_stands_still(
    server: Server, notified: NotifySocket
) -> None:
    server.environment["WATCHDOG_USEC"] = "3000000"
    server.configure("v1", {"v1": {}})
    server.spawn()
    notified.until_said("READY")

    for _ in range(3):
        notified.until_said("WATCHDOG", timeout_s=3.0)
    psutil.Process(pid_of(server)).suspend()
    try:
        with pytest.raises(AssertionError, match="before WATCHDOG"):
            while True:  # what was sent before it stood still may come first
                notified.until_said("WATCHDOG", timeout_s=3.0)
    finally:
        psutil.Process(pid_of(server)).resume()


def test_a_watchdog_meant_for_another_process_is_not_fed(
    server: Server, notified: NotifySocket
) -> None:
    server.environment |= {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
    server.configure("v1", {"v1": {}})

    server.spawn()
    notified.until_said("READY")

    assert not any("WATCHDOG" in notice for notice in notified.heard)


def test_no_child_ever_sees_what_the_service_manager_said(
    server: Server, notified: NotifySocket
) -> None:
    server.environment |= {"WATCHDOG_USEC": "60000000", "LISTEN_FDS": "1", "LISTEN_PID": "1"}
    server.configure("v1", {"v1": {"env": {"TEST_MODE": "leak a grandchild"}}})
    server.start()

    family = psutil.Process(pid_of(server)).children(recursive=True)

    seen = {
        " ".join(child.cmdline()): name
        for child in family
        for name in PRIVATE
        if name.encode() in Path(f"/proc/{child.pid}/environ").read_bytes()
    }
    assert len(family) >= 5, "worker, grandchild, gateway, its process, janitor"
    assert seen == {}


def test_a_service_manager_that_went_away_does_not_disturb_the_server(
    server: Server, short_dir: Path
) -> None:
    server.environment["NOTIFY_SOCKET"] = str(short_dir / "nobody")
    server.configure("v1", {"v1": {}})

    server.start()

    assert server.rerank().status_code == 200
    assert server.logs().count("service manager cannot be told") == 1


# --- the port it is given -----------------------------------------------------------------------


@pytest.fixture
def activated(server: Server, free_port: int) -> Server:
    tool = shutil.which("systemd-socket-activate") or lack("no systemd-socket-activate here")
    server.wrapper = [tool, "--listen", f"127.0.0.1:{free_port}", "--fdname", "http"]
    server.configure("v1", {"v1": {}, "v2": {"enabled": False}}, server={"port": 1})
    return server


def has_ended(server: Server) -> bool:
    """Tell whether the process has ended, after a moment."""
    assert server.process is not None
    try:
        server.process.wait(0.02)
    except subprocess.TimeoutExpired:
        return False
    return True


def connect(port: int, server: Server) -> socket.socket:
    """Connect as soon as somebody listens: that starts the server."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            assert not has_ended(server), server.logs()


def test_the_first_connection_starts_it_and_is_answered_on_the_socket_it_came_by(
    activated: Server, free_port: int
) -> None:
    activated.spawn()

    with connect(free_port, activated) as connection:
        connection.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = connection.recv(65_536)
    activated.wait_version("v1", "RUNNING")

    assert answer.startswith(b"HTTP/1.1 ")
    assert activated.url == f"http://127.0.0.1:{free_port}"
    assert activated.rerank().status_code == 200


def test_a_passed_socket_outlives_reloads_that_name_another_address(
    activated: Server, free_port: int
) -> None:
    activated.spawn()
    connect(free_port, activated).close()
    activated.wait_version("v1", "RUNNING")

    activated.configure("v1", {"v1": {}, "v2": {}}, server={"port": 2})
    done = activated.cli("reload")

    assert done.returncode == 0, done.stderr
    assert activated.url == f"http://127.0.0.1:{free_port}"
    assert httpx.get(f"{activated.url}/ready").status_code == 200


def test_a_passed_socket_that_cannot_be_served_on_is_refused_in_one_line(
    activated: Server, short_dir: Path
) -> None:
    address = str(short_dir / "http")
    activated.wrapper = [activated.wrapper[0], "--listen", address]
    activated.spawn()
    assert activated.process is not None

    with socket.socket(socket.AF_UNIX) as client:
        while client.connect_ex(address) != 0:
            assert not has_ended(activated), activated.logs()
        code = activated.process.wait(30)

    assert code == 1
    assert activated.logs().splitlines()[-1].startswith("error: the socket passed by the service")
