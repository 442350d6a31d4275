"""The gateway heals itself: it finds a replaced table, and keeps the last one it could read."""

from __future__ import annotations

import gc
from pathlib import Path

import orjson
import pytest

from rerank_server.core.routing import RoutesTable, to_json
from rerank_server.gateway.table import RoutesFile
from rerank_server.gateway.watched import WatchedFile
from tests.gateway.fakes import route, table


def publish(path: Path, routes: RoutesTable) -> None:
    put(path, orjson.dumps(to_json(routes)))


def put(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.rename(path)


def default_of(routes: RoutesFile) -> str | None:
    view = routes.current()
    return None if view is None else view.table.default


def test_a_table_is_read_when_it_appears_and_whenever_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    routes = RoutesFile(path)

    assert routes.current() is None
    for name in ("v1", "v2", "v3"):
        publish(path, table(route(name, f"{name}.1")))
        assert default_of(routes) == name
        assert routes.current() is routes.current()


def test_replacements_within_one_clock_tick_are_all_seen(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    routes = RoutesFile(path)

    for number in range(200):
        publish(path, table(route(f"v{number}", "x.1")))
        assert default_of(routes) == f"v{number}"


def test_a_process_of_several_has_its_share_of_what_may_be_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    publish(path, table(route("v1", "v1.1")))

    view = RoutesFile(path, processes=4).current()

    assert view is not None
    assert view.table.limits.max_concurrent_requests == 250
    assert view.table.versions["v1"].limits.max_concurrent_requests == 250
    assert view.whole == table(route("v1", "v1.1"))


def test_a_missing_table_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    publish(path, table(route("v1", "v1.1")))
    routes = RoutesFile(path)
    assert default_of(routes) == "v1"

    path.unlink()
    assert default_of(routes) == "v1"
    publish(path, table(route("v2", "v2.1")))
    assert default_of(routes) == "v2"


def test_a_directory_in_its_place_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    publish(path, table(route("v1", "v1.1")))
    routes = RoutesFile(path)
    assert default_of(routes) == "v1"

    path.unlink()
    path.mkdir()
    assert default_of(routes) == "v1"
    path.rmdir()
    publish(path, table(route("v2", "v2.1")))
    assert default_of(routes) == "v2"


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"[]", b"{}", b'{"limits":3,"gateway":{},"versions":{}}', b"\xff\xfe"],
)
def test_a_broken_table_leaves_the_last_one_and_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "routes.json"
    publish(path, table(route("v1", "v1.1")))
    routes = RoutesFile(path)
    assert default_of(routes) == "v1"

    put(path, content)
    assert [default_of(routes) for _ in range(3)] == ["v1"] * 3
    assert len(caplog.records) == 1
    publish(path, table(route("v2", "v2.1")))
    assert default_of(routes) == "v2"


def test_a_closed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    file = WatchedFile(path)

    assert file.poll() == b"x"
    assert file.poll() is None
    file.close()
    file.close()
    assert file.poll() == b"x"


def test_a_file_that_nobody_watches_any_more_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    file = WatchedFile(path)
    file.poll()

    def holders() -> list[str]:
        links = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        return [str(link) for link in links if link == path]

    assert len(holders()) == 1
    del file
    gc.collect()
    assert holders() == []
