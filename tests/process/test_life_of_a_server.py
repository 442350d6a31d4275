"""Start, stop, crash and fallback, through the real supervisor, sockets and signals."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import httpx
import psutil
import pytest

from tests.process.server import Server, version_of

pytestmark = pytest.mark.process

TWO = {
    "v1": {"env": {"TEST_SCORE": "0.1"}},
    "v2": {"env": {"TEST_SCORE": "0.2"}},
}


def test_three_versions_run_in_processes_of_their_own(server: Server) -> None:
    server.configure("v2", {**TWO, "v3": {"env": {"TEST_SCORE": "0.3"}}})

    server.start()

    pids = {server.pid_of(name) for name in ("v1", "v2", "v3")}
    assert len(pids) == 3
    scores = {name: server.rerank(f"/rerank/{name}").json()["scores"][0] for name in TWO}
    assert scores == {"v1": 0.1, "v2": 0.2}


def test_the_gateway_answers_503_while_models_load(server: Server) -> None:
    server.configure("v1", {"v1": {"env": {"TEST_MODE": "slow", "TEST_SECONDS": "3600"}}})

    server.spawn()
    server.wait(lambda s: s["gateway"]["state"] == "RUNNING", "the gateway serves")
    answer = server.rerank()

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert server.version("v1")["state"] == "STARTING"


def test_stop_leaves_no_process_socket_or_pid_file(server: Server) -> None:
    server.configure("v2", TWO)
    server.start()
    assert server.process is not None
    family = psutil.Process(server.process.pid).children(recursive=True)
    assert server.rerank().status_code == 200

    code = server.stop()

    assert code == 0
    _, alive = psutil.wait_procs(family, timeout=2)
    assert alive == []
    left = [p.name for p in server.run_dir.rglob("*") if not p.is_dir()]
    assert left == ["lock"]


def test_a_killed_worker_is_replaced_and_the_fallback_answers_meanwhile(server: Server) -> None:
    server.configure("v1", {"v1": TWO["v1"], "v2": {**TWO["v2"], "fallback": "v1"}})
    server.start()
    killed = server.pid_of("v2")

    os.kill(killed, signal.SIGKILL)
    server.wait(
        lambda s: not any(i["pid"] == killed for i in version_of(s, "v2")["instances"]),
        "the dead process is noticed",
    )
    meanwhile = server.rerank("/rerank/v2")
    back = server.wait_version("v2", "RUNNING")

    assert meanwhile.status_code == 200
    assert meanwhile.headers["X-Rerank-Version"] == "v1"
    assert meanwhile.json()["fallback"]["from"] == "v2"
    assert back["restarts"] == 1
    assert server.pid_of("v2") != killed
    assert server.rerank("/rerank/v2").json()["scores"][0] == 0.2
    reasons = [str(e.get("reason")) for e in server.events()]
    assert any("SIGKILL, not sent by this server" in reason for reason in reasons)


def test_a_version_that_cannot_start_is_failed_with_its_reason_and_blocks_nobody(
    server: Server,
) -> None:
    server.configure("v1", {"v1": TWO["v1"], "v2": {"env": {"TEST_MODE": "fail at import"}}})

    server.start()

    broken = server.wait_version("v2", "FAILED")
    assert "No module named 'frobnicate'" in str(broken["reason"])
    assert server.rerank("/rerank/v1").status_code == 200
    assert server.rerank("/rerank/v2").headers["X-Rerank-Version"] == "v1"


def test_an_empty_directory_is_failed_and_says_what_to_run(server: Server) -> None:
    (server.models_dir / "v2").mkdir(parents=True)
    server.configure("v1", {"v1": TWO["v1"], "v2": {}})

    server.start()

    assert server.version("v2")["reason"] == "no model files; run: rerank-server pull v2"
    assert server.rerank().status_code == 200


def test_a_crash_loop_backs_off_and_never_blocks_the_others(server: Server) -> None:
    server.configure("v1", {"v1": TWO["v1"], "v2": {"env": {"TEST_MODE": "crash at import"}}})

    server.start()

    waiting = server.wait_version("v2", "BACKOFF")
    assert "SIGABRT" in str(waiting["reason"])
    assert server.rerank().status_code == 200


def test_a_header_chooses_the_version_and_an_unknown_one_means_the_default(server: Server) -> None:
    server.configure("v2", TWO)
    server.start()

    chosen = server.rerank(X_Rerank_Version="v1")
    unknown = server.rerank(X_Rerank_Version="v9-none")
    strict = server.rerank(X_Rerank_Version="v9-none", X_Rerank_Strict="1")

    assert chosen.json()["version"] == "v1"
    assert chosen.json()["fallback"] is None
    assert unknown.json()["version"] == "v2"
    assert unknown.json()["fallback"]["reason"] == "unknown_version"
    assert strict.status_code == 503


def test_killing_the_supervisor_ends_workers_grandchildren_and_gateway(server: Server) -> None:
    server.configure("v1", {"v1": {"env": {"TEST_MODE": "leak a grandchild"}}, "v2": {}})
    server.start()
    assert server.process is not None
    family = psutil.Process(server.process.pid).children(recursive=True)
    names = {" ".join(p.cmdline()) for p in family}
    assert any("sleep 3600" in name for name in names)
    port = int(server.url.rpartition(":")[2])

    server.process.kill()
    server.process.wait()

    _, alive = psutil.wait_procs(family, timeout=2)
    assert alive == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    server.start()
    assert server.rerank().status_code == 200


def test_a_second_start_on_the_same_run_dir_is_refused_by_pid(server: Server) -> None:
    server.configure("v1", TWO)
    server.start()
    assert server.process is not None

    second = server.cli("start", "--config", str(server.config_path))

    assert second.returncode == 1
    assert str(server.process.pid) in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_in_use_is_said_in_one_line(server: Server, free_port: int, short_dir: Path) -> None:
    server.configure("v1", {"v1": {}}, server={"port": free_port})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()

        done = server.cli(
            "start", "--config", str(server.config_path), "--state-dir", str(short_dir / "state")
        )

    assert done.returncode == 1
    assert f"127.0.0.1:{free_port} is in use" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_a_worker_that_stops_answering_is_killed_and_replaced(server: Server) -> None:
    server.configure("v1", {"v1": TWO["v1"], "v2": {**TWO["v2"], "fallback": "v1"}})
    server.start()
    stuck = server.pid_of("v2")

    os.kill(stuck, signal.SIGSTOP)
    server.wait(lambda s: version_of(s, "v2")["restarts"] == 1, "it was replaced", timeout_s=20)
    server.wait_version("v2", "RUNNING")

    assert server.pid_of("v2") != stuck
    assert any("no sign of life" in str(e.get("reason")) for e in server.events())


def test_two_servers_live_side_by_side(server: Server, short_dir: Path) -> None:
    (short_dir / "other").mkdir()
    other = Server(short_dir / "other")
    try:
        server.configure("v1", {"v1": {"env": {"TEST_SCORE": "0.1"}}})
        other.configure("v1", {"v1": {"env": {"TEST_SCORE": "0.2"}}})

        server.start()
        other.start()

        assert server.rerank().json()["scores"][0] == 0.1
        assert other.rerank().json()["scores"][0] == 0.2
        server.stop()
        assert other.rerank().status_code == 200
    finally:
        other.close()


def test_a_request_in_flight_survives_stop(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    url = server.url

    with httpx.Client(base_url=url, timeout=20) as client:
        request = client.build_request(
            "POST", "/rerank", json={"query": "q", "docs": ["please wait 4"]}
        )
        import threading

        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(client.send(request)))
        thread.start()
        server.wait(
            lambda s: version_of(s, "v1")["queue"]["in_flight"] == 1,
            "the request is in flight",
        )
        assert server.stop() == 0
        thread.join(10)

    assert [answer.status_code for answer in answers] == [200]


def test_a_delayed_stop_says_not_ready_and_still_answers(server: Server) -> None:
    server.configure("v1", {"v1": {}}, server={"shutdown_delay_s": 2})
    server.start()
    assert server.process is not None
    assert server.client.get("/ready").status_code == 200

    server.process.terminate()
    server.wait(lambda s: s["server"]["stopping"], "it stops")

    assert server.client.get("/ready").status_code == 503
    assert server.rerank().status_code == 200
    assert server.process.wait(20) == 0


def test_a_second_signal_hurries_the_stop(server: Server) -> None:
    server.configure("v1", {"v1": {}}, server={"shutdown_delay_s": 600})
    server.start()
    assert server.process is not None

    server.process.terminate()
    server.wait(lambda s: s["server"]["stopping"], "it stops")
    server.process.terminate()

    assert server.process.wait(10) == 0
