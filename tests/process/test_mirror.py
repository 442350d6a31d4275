"""A version that scores copies dies, hangs or is stopped: nobody who asked notices."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

import pytest

from tests.gateway.harness import series
from tests.process.server import Server

pytestmark = pytest.mark.process

HANGS = """
import time

def rerank(query, docs):
    if "one" in docs:
        time.sleep(3600)
    return [0.5] * len(docs)
"""


def start(server: Server, env: Mapping[str, str] | None = None) -> None:
    """Start two versions; the second scores a copy of all that the first answers."""
    server.configure(
        "v1",
        {"v1": {}, "v2": {"env": dict(env or {})}},
        mirror={"to": "v2", "share": 1.0},
    )
    server.start()


def copies(server: Server, result: str) -> float:
    """Return how many copies came to that."""
    said = series(server.client.get("/metrics").text)
    name = f'reranker_mirror_requests_total{{result="{result}",to="v2",version="v1"}}'
    return said.get(name, 0.0)


def has_counted(server: Server, count: int) -> bool:
    return sum(copies(server, result) for result in ("compared", "failed", "shed")) == count


def test_a_version_that_dies_with_a_copy_gets_no_more_and_no_request_notices(
    server: Server,
) -> None:
    start(server, {"TEST_MODE": "crash on the twelfth request"})
    pid = server.pid_of("v2")

    for count in range(1, 31):
        assert server.rerank().status_code == 200
        server.until(partial(has_counted, server, count), "the copy was counted")

    back = server.wait(
        lambda s: any(
            v["name"] == "v2" and v["state"] == "RUNNING" and v["instances"][0]["pid"] != pid
            for v in s["versions"]
        ),
        "v2 is back",
    )
    assert copies(server, "failed") == 1
    assert copies(server, "shed") + copies(server, "compared") == 29
    assert copies(server, "compared") <= 11
    assert next(v["restarts"] for v in back["versions"] if v["name"] == "v2") == 1
    assert server.stop() == 0


def test_requests_and_a_stop_do_not_wait_for_a_copy_that_never_ends(server: Server) -> None:
    (server.models_dir / "v2").mkdir(parents=True)
    (server.models_dir / "v2" / "rerank.py").write_text(HANGS)
    start(server)

    for _ in range(20):
        assert server.rerank().status_code == 200
    began = time.monotonic()

    assert server.stop() == 0
    assert time.monotonic() - began < 10


def test_requests_for_the_version_itself_pass_its_copies(server: Server) -> None:
    start(server, {"TEST_SERVICE_S": "0.4"})

    for _ in range(10):
        assert server.rerank().status_code == 200
    assert server.rerank("/rerank/v2").status_code == 200
    assert copies(server, "compared") < 9
    server.until(lambda: copies(server, "compared") == 10, "every copy was compared")

    assert server.stop() == 0
