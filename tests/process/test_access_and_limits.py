"""Keys and limits of a real server: changed by a reload that starts and stops nothing."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.gateway.harness import series
from tests.process.server import Server

pytestmark = pytest.mark.process


def make_key(*options: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "rerank_server", "key", *options],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout.splitlines()


def others_may(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def pids(server: Server) -> list[object]:
    state = server.state()
    return [state["gateway"]["pid"], server.pid_of("v1")]


def test_keys_and_limits_change_without_a_start_or_stop(server: Server) -> None:
    keys = server.root / "keys.txt"
    (first,) = make_key("--file", str(keys), "--scope", "score", "--comment", "first")
    second, line = make_key()
    server.configure("v1", {"v1": {}}, server={"api_keys_file": "keys.txt"})
    server.start()
    before = pids(server)
    assert not others_may(keys)
    assert server.rerank().status_code == 401
    assert server.rerank(X_API_Key=first).status_code == 200
    assert server.client.get("/metrics", headers={"X-API-Key": first}).status_code == 403
    assert server.client.get("/health").status_code == 200

    keys.write_text(f"{line}\n")
    server.configure(
        "v1", {"v1": {"max_queued_pairs": 1}},
        server={"api_keys_file": "keys.txt", "max_connections": 5, "keep_alive_s": 3},
    )  # fmt: skip
    done = server.cli("reload")

    assert done.returncode == 0, done.stderr
    assert server.rerank(X_API_Key=first).status_code == 401
    assert server.rerank(X_API_Key=second).status_code == 413
    assert server.rerank(docs=["one"], X_API_Key=second).status_code == 200
    assert server.client.get("/metrics", headers={"X-API-Key": second}).status_code == 200
    assert pids(server) == before


def test_a_broken_file_of_keys_keeps_the_old_ones(server: Server) -> None:
    key, line = make_key()
    (server.root / "keys.txt").write_text(line)
    server.configure("v1", {"v1": {}}, server={"api_keys_file": "keys.txt"})
    server.start()

    (server.root / "keys.txt").write_text("")
    done = server.cli("reload")

    assert done.returncode != 0
    assert "holds no key" in done.stderr
    assert server.rerank().status_code == 401
    assert server.rerank(X_API_Key=key).status_code == 200


def test_keys_are_nowhere_in_the_clear_and_places_are_closed_to_others(server: Server) -> None:
    key = "rrs_of-the-environment"
    server.environment = {"RERANK_SERVER_API_KEYS": key}
    server.configure("v1", {"v1": {}})
    server.start()
    assert server.rerank(Authorization=f"Bearer {key}").status_code == 200
    assert server.rerank(Authorization=f"Bearer {key}x").status_code == 401
    described = json.loads(server.cli("export", "--config", str(server.config_path)).stdout)
    assert described["security"] == [{"bearer": []}, {"key": []}]

    found = [path for path in server.run_dir.rglob("*") if path.is_file()]
    found += [path for path in server.state_dir.rglob("*") if path.is_file()]
    assert not [path for path in found if key.encode() in path.read_bytes()]
    for process in (server.pid_of("v1"), server.state()["gateway"]["pid"]):
        assert key.encode() not in Path(f"/proc/{process}/environ").read_bytes()

    assert not others_may(server.run_dir)
    assert not others_may(server.state_dir)
    assert not others_may(server.run_dir / "w")


def queued(server: Server) -> float:
    text = server.client.get("/metrics").text
    return series(text)['reranker_queue_pairs{version="v1"}']


def test_a_client_that_hangs_up_takes_its_queued_pairs_away_with_it(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    body = json.dumps({"query": "q", "docs": ["x"] * 50}).encode()
    head = b"POST /rerank HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    address = urlsplit(server.url)

    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(httpx.post, f"{server.url}/rerank", timeout=30.0, json={
            "query": "q", "docs": ["please wait 8"],
        })  # fmt: skip
        server.until(lambda: queued(server) == 1, "the long request is there")
        with socket.create_connection((address.hostname, address.port), 10) as impatient:
            impatient.sendall(head + body)
            server.until(lambda: queued(server) == 51, "the impatient one waits behind it")
        server.until(lambda: queued(server) == 1, "its pairs are gone")
        is_over = long.done()

        assert not is_over
        assert long.result(30).status_code == 200
    said = series(server.client.get("/metrics").text)
    assert said['reranker_requests_total{status="499",version="v1"}'] == 1.0
    assert said['reranker_pairs_total{version="v1"}'] < 50


MARK = "zq9mark"
INDISCREET = """
import os
def rerank(query, docs):
    if docs[0].startswith("fail"):
        raise ValueError(query + docs[0])
    if docs[0].startswith("die"):
        os.abort()
    return [0.5] * len(docs)
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_log_and_no_file_holds_texts_keys_or_headers(server: Server, log_format: str) -> None:
    directory = server.models_dir / "v1"
    directory.mkdir(parents=True)
    (directory / "rerank.py").write_text(INDISCREET)
    server.configure(
        "v1", {"v1": {}}, server={"log_format": log_format, "log_level": "debug", "max_docs": 3}
    )
    server.start()
    sent = {"Authorization": f"Bearer {MARK}", "X-Rerank-Version": MARK, "X-Rerank-Key": MARK}

    statuses = set()
    for first in ("score", "fail", "die"):
        docs = [f"{first} {MARK}", MARK]
        for body in (
            {"query": MARK, "docs": docs},
            {"query": MARK, "texts": docs},
            {"query": MARK, "documents": docs, "model": MARK},
            {"query": MARK, "docs": [*docs, MARK, MARK]},
            {"query": MARK, "docs": MARK},
        ):
            answer = server.client.post(f"/rerank?{MARK}=1", json=body, headers=sent)
            statuses.add(answer.status_code)
        answer = server.client.post(f"/{MARK}", content=MARK, headers=sent)
        statuses.add(answer.status_code)

    assert {200, 400, 404, 413, 424, 500} <= statuses
    assert statuses & {502, 503}
    server.stop()
    files = [path for path in server.root.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".log"]) >= 3
    assert "model error" in (server.state_dir / "logs" / "v1.log").read_text()
    assert not [path for path in files if MARK.encode() in path.read_bytes()]
