"""Under steady load: switching, replacing, killing and re-pointing loses no request."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from tests.process.load import Load
from tests.process.server import Server, version_of

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def scores(score: float, **more: object) -> dict[str, object]:
    """Return a version's config whose first document always gets this score."""
    return {"env": {"TEST_SCORE": str(score)}, **more}


def test_twenty_changes_in_a_row_fail_no_request(server: Server) -> None:
    steady = {"v1": scores(0.1), "v2": scores(0.2), "v3": scores(0.3)}
    server.configure("v1", steady)
    server.start()

    with Load(server.url, ["v1", "v2"]) as load:
        for turn in range(20):
            kind = turn % 4
            versions = dict(steady)
            if kind == 0:  # replace v2
                steady["v2"] = scores(0.2, batch_size=8 + turn)
                versions = dict(steady)
            elif kind == 1:  # disable v3
                versions["v3"] = {**steady["v3"], "enabled": False}
            elif kind == 2:  # enable it again, and move the default
                server.configure("v2", steady)
                assert server.cli("reload").returncode == 0
            server.configure("v2" if kind == 2 else "v1", versions)
            done = server.cli("reload")
            assert done.returncode == 0, done.stderr + server.logs()
            load.wait_for(8)

    assert load.failures() == []
    assert load.wrong() == []
    assert {(asked, served) for asked, _, served in load.summary()} == {("v1", "v1"), ("v2", "v2")}


def test_requests_to_a_version_being_disabled_get_the_fallbacks_answer(server: Server) -> None:
    server.configure("v1", {"v1": scores(0.1), "v2": scores(0.2)})
    server.start()

    with Load(server.url, ["v2"]) as load:
        server.configure("v1", {"v1": scores(0.1), "v2": scores(0.2, enabled=False)})
        assert server.cli("reload").returncode == 0
        load.wait_for(20)

    assert load.failures() == []
    assert load.wrong() == []
    assert {served for _, _, served in load.summary()} == {"v1", "v2"}


def test_killing_a_worker_under_load_fails_no_request(server: Server) -> None:
    server.configure("v1", {"v1": scores(0.1), "v2": scores(0.2)})
    server.start()

    with Load(server.url, ["v1", "v2"]) as load:
        for restarts in (1, 2):
            os.kill(server.pid_of("v2"), signal.SIGKILL)
            server.wait(
                lambda s, n=restarts: version_of(s, "v2")["restarts"] == n,  # type: ignore[misc]  # bound now
                "it was restarted",
            )
            server.wait_version("v2", "RUNNING")
            load.wait_for(20)

    assert load.failures() == []
    assert load.wrong() == []


def test_a_gateway_process_that_dies_is_back_while_the_socket_queues(server: Server) -> None:
    server.configure("v1", {"v1": scores(0.1)}, server={"gateway_processes": 2})
    server.start()
    arbiter = int(server.state()["gateway"]["pid"])

    os.kill(arbiter, signal.SIGKILL)
    server.wait(
        lambda s: s["gateway"]["state"] == "RUNNING" and s["gateway"]["pid"] != arbiter,
        "another gateway serves",
    )

    assert server.rerank().status_code == 200


def test_a_gateway_replaced_for_its_process_count_loses_no_request(server: Server) -> None:
    server.configure("v1", {"v1": scores(0.1)})
    server.start()

    with Load(server.url, ["v1"]) as load:
        for processes in (2, 1, 2):
            before = server.state()["gateway"]["generation"]
            port = int(server.url.rpartition(":")[2])
            server.configure("v1", {"v1": scores(0.1)}, server={"gateway_processes": processes})
            assert server.cli("reload").returncode == 0
            server.wait(
                lambda s, g=before: s["gateway"]["generation"] > g,  # type: ignore[misc]  # bound now
                "a new gateway serves",
            )
            assert int(server.url.rpartition(":")[2]) == port
            load.wait_for(30)

    assert load.failures() == []


def test_fifty_hangups_in_a_second_end_in_one_rollout(server: Server) -> None:
    server.configure("v1", {"v1": scores(0.1), "v2": scores(0.2)})
    server.start()
    kept = server.pid_of("v1")

    server.configure("v1", {"v1": scores(0.1), "v2": scores(0.4)})
    assert server.process is not None
    for _ in range(50):
        server.process.send_signal(signal.SIGHUP)
    done = server.cli("reload")

    assert done.returncode == 0
    assert server.pid_of("v1") == kept
    assert server.rerank("/rerank/v2").json()["scores"][0] == 0.4
    started = [e for e in server.events() if e.get("to") == "STARTING" and e["version"] == "v2"]
    assert len(started) == 2


def test_a_document_that_crashes_the_model_kills_at_most_two_workers(server: Server) -> None:
    server.configure("v1", {"v1": scores(0.1), "v2": scores(0.2), "v3": scores(0.3)})
    server.start()
    pids = {name: server.pid_of(name) for name in ("v1", "v2", "v3")}

    first = server.rerank("/rerank/v2", docs=["please crash"])
    second = server.rerank("/rerank/v2", docs=["please crash"])
    server.wait_version("v2", "RUNNING")

    assert first.status_code == 502
    assert second.status_code == 502
    killed = [name for name, pid in pids.items() if server.pid_of(name) != pid]
    assert len(killed) <= 2
    assert "v3" not in killed
    assert server.rerank("/rerank/v2").status_code == 200


def test_a_supervisor_stopped_for_long_blames_no_worker(server: Server) -> None:
    server.configure("v1", {"v1": scores(0.1), "v2": scores(0.2)})
    server.start()
    pids = [server.pid_of(name) for name in ("v1", "v2")]
    assert server.process is not None

    server.process.send_signal(signal.SIGSTOP)
    with Load(server.url, ["v1"]) as load:
        began = load.records[-1].at
        while load.records[-1].at - began < 8.0:  # longer than a lost beat
            load.wait_for(5)
    server.process.send_signal(signal.SIGCONT)
    assert server.cli("reload").returncode == 0

    assert [server.pid_of(name) for name in ("v1", "v2")] == pids
    assert load.failures() == []


def test_a_slow_sender_is_answered_by_the_successor_of_the_worker_it_began_with(
    server: Server,
) -> None:
    server.configure("v1", {"v1": scores(0.1, fallback="v2"), "v2": scores(0.3)})
    server.start()
    host, _, port = server.url.removeprefix("http://").partition(":")
    body = b'{"query": "q", "docs": ["one"]}'
    lines = ["POST /rerank HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"Content-Length: {len(body)}", "", ""]
    head = "\r\n".join(lines).encode()

    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(head + body[:10])
        server.configure("v1", {"v1": scores(0.2, fallback="v2"), "v2": scores(0.3)})
        assert server.cli("reload").returncode == 0
        client.sendall(body[10:])
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"scores":[0.2]' in answer
