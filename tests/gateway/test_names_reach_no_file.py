"""Names and paths from requests never reach the file system, a socket's name or an import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rerank_server.gateway.paths import PAGES
from rerank_server.gateway.upstream import SocketUpstream
from tests.gateway.fakes import route, table
from tests.gateway.harness import JSON, Gateway

MARK = "zq9mark"
NAMES = (MARK, f"../{MARK}", f"/etc/{MARK}", f"v1/../{MARK}", f"%2e%2e%2f{MARK}", f"v1\x00{MARK}")
TOUCHING = ("open", "os.", "pathlib.", "shutil.", "glob.", "socket.connect", "import", "exec")
_heard: list[list[str]] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _heard and event.startswith(TOUCHING):
        _heard[-1].append(f"{event} {arguments!r}")


sys.addaudithook(_hear)  # for good: Python lets nobody take one away


@contextmanager
def heard() -> Iterator[list[str]]:
    """Record what this process does with files, sockets and modules: PEP 578."""
    events: list[str] = []
    _heard.append(events)
    try:
        yield events
    finally:
        _heard.remove(events)


@pytest.fixture
def gateway(gateway: Gateway) -> Gateway:
    """Return a gateway that would open the sockets of its workers."""
    gateway.use(SocketUpstream())
    gateway.show(table(route("v1", "v1.1")))
    return gateway


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_a_request_is_looked_for(gateway: Gateway, name: str) -> None:
    plain = {k: v for k, v in (("X-Rerank-Version", name), ("X-Request-ID", name)) if "\0" not in v}
    body = {"query": name, "docs": [name], "model": name, "rank_fields": [name]}
    path = name.replace("\0", "%00").lstrip("/")

    with heard() as events:
        gateway.post("/rerank", body, headers={**JSON, **plain})
        for page in PAGES:
            gateway.post(f"/rerank/{path}{page}", body)
            gateway.get(f"/rerank/{path}{page}")
        for above in ("/v1/models", "/ready?version=", "/docs", "/versions", "/metrics"):
            gateway.get(f"{above}/{path}")

    assert [event for event in events if event.startswith("socket.connect")]
    assert not [event for event in events if MARK in event]
