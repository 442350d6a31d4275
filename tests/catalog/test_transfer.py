from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_server.catalog import hugging_face, transfer
from rerank_server.catalog.transfer import RemoteFile
from rerank_server.errors import CatalogError
from tests.catalog.hub_server import FakeHub, served

WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with served(FakeHub(files={"model.safetensors": WEIGHTS, "config.json": b"{}"})) as hub:
        yield hub


def remote(hub: FakeHub, path: str = "model.safetensors") -> RemoteFile:
    found = hugging_face.snapshot(hub.repo, endpoint=hub.url)
    return next(file for file in found.files if file.path == path)


def bring(file: RemoteFile, target: Path) -> list[int]:
    """Fetch without pauses; gives the reported numbers of bytes."""
    reported: list[int] = []
    with transfer.client(timeout_s=10) as client:
        transfer.fetch(client, file, {}, target, reported.append, pause=lambda _: None)
    return reported


def test_a_file_arrives_whole_and_its_progress_is_told(hub: FakeHub, tmp_path: Path) -> None:
    reported = bring(remote(hub), tmp_path / "deep" / "w")

    assert (tmp_path / "deep" / "w").read_bytes() == WEIGHTS
    assert reported[-1] == len(WEIGHTS)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["w"]


def test_a_connection_that_breaks_off_is_gone_on_with(hub: FakeHub, tmp_path: Path) -> None:
    hub.break_off_after, hub.break_offs = 4000, 2

    bring(remote(hub), tmp_path / "w")

    assert (tmp_path / "w").read_bytes() == WEIGHTS
    assert [asked for _, asked in hub.requests] == [None, "bytes=4000-", "bytes=8000-"]


def test_what_an_earlier_run_left_is_used(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "w.part").write_bytes(WEIGHTS[:9000])

    bring(remote(hub), tmp_path / "w")

    assert (tmp_path / "w").read_bytes() == WEIGHTS
    assert hub.requests == [("model.safetensors", "bytes=9000-")]


def test_a_server_without_ranges_starts_anew(hub: FakeHub, tmp_path: Path) -> None:
    hub.ignores_ranges = True
    (tmp_path / "w.part").write_bytes(b"x" * 100)

    bring(remote(hub), tmp_path / "w")

    assert (tmp_path / "w").read_bytes() == WEIGHTS


def test_a_file_that_is_there_is_not_asked_for(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(WEIGHTS)

    assert bring(remote(hub), tmp_path / "w") == [len(WEIGHTS)]
    assert hub.requests == []


def test_an_empty_file_is_fetched_too(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["config.json"] = b""

    bring(remote(hub, "config.json"), tmp_path / "w")

    assert (tmp_path / "w").read_bytes() == b""


def test_a_hub_that_never_delivers_is_given_up(hub: FakeHub, tmp_path: Path) -> None:
    file = remote(hub)
    hub.statuses = [503] * 20

    with pytest.raises(CatalogError, match=r"broke off at 0 of 10240 bytes .*503.*go on"):
        bring(file, tmp_path / "w")

    assert not (tmp_path / "w").exists()


def test_a_file_the_hub_does_not_have_is_one_line(hub: FakeHub, tmp_path: Path) -> None:
    file = replace(remote(hub), url=f"{hub.url}/org/absent")

    with pytest.raises(CatalogError, match=r"model.safetensors: not found on the hub"):
        bring(file, tmp_path / "w")


def test_a_busy_hub_is_asked_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.statuses = [503, 429, 500]

    bring(remote(hub), tmp_path / "w")

    assert (tmp_path / "w").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("told", "message"),
    [(len(WEIGHTS) - 1, "sends more than"), (len(WEIGHTS) + 1, "broke off at 10240 of 10241")],
)
def test_a_hub_that_lies_about_the_size_is_found_out(
    hub: FakeHub, tmp_path: Path, told: int, message: str
) -> None:
    hub.told_sizes = {"model.safetensors": told}

    with pytest.raises(CatalogError, match=message):
        bring(remote(hub), tmp_path / "w")

    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_another_content_than_described_is_thrown_away(
    hub: FakeHub, tmp_path: Path, path: str
) -> None:
    file = remote(hub, path)
    hub.files[path] = bytes(len(hub.files[path]))

    with pytest.raises(CatalogError, match=r"its checksum is .*, the hub says .*thrown away"):
        bring(file, tmp_path / "w")

    assert list(tmp_path.iterdir()) == []


def test_a_part_longer_than_the_file_is_dropped(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "w.part").write_bytes(b"x" * 20_000)

    bring(remote(hub), tmp_path / "w")

    assert (tmp_path / "w").read_bytes() == WEIGHTS


def test_a_slow_hub_is_waited_for(hub: FakeHub, tmp_path: Path) -> None:
    hub.slow_s = 0.02

    reported = bring(remote(hub), tmp_path / "w")

    assert (tmp_path / "w").read_bytes() == WEIGHTS
    assert reported[-1] == len(WEIGHTS)


def test_a_server_that_is_gone_is_one_line(tmp_path: Path) -> None:
    file = RemoteFile("w", "http://127.0.0.1:9/w", 10)

    with pytest.raises(CatalogError, match="w: broke off at 0 of 10 bytes") as caught:
        bring(file, tmp_path / "w")

    assert "\n" not in caught.value.message
