from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import pytest

from rerank_server.catalog import unpack
from rerank_server.errors import CatalogError


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_listed_files_land_in_their_places(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"a/config.json": b"{}", "a/w.bin": b"w" * 9})
    reported: list[int] = []

    assert unpack.sizes(archive) == {"a/config.json": 2, "a/w.bin": 9}
    unpack.extract(archive, {"a/w.bin": "model/w.bin"}, tmp_path / "v", reported.append)

    assert [p.name for p in (tmp_path / "v").rglob("*") if p.is_file()] == ["w.bin"]
    assert (tmp_path / "v" / "model" / "w.bin").read_bytes() == b"w" * 9
    assert reported == [9]


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a/./b", "C:\\evil", "..\\evil"]
)
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "x.zip", {"config.json": b"{}", name: b"evil"})

    with pytest.raises(CatalogError, match="not a path inside"):
        unpack.sizes(archive)


def test_a_link_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo("model.safetensors")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")

    with pytest.raises(CatalogError, match="is a link"):
        unpack.sizes(tmp_path / "x.zip")


def test_a_bomb_is_refused_by_what_it_would_grow_to(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"model.safetensors": bytes(80 * 1024 * 1024)})

    with pytest.raises(CatalogError, match="that is a bomb"):
        unpack.sizes(archive)


def test_a_file_that_unpacks_to_more_than_it_said_is_cut_and_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"w.bin": bytes(50_000)})
    content = archive.read_bytes()
    # Central directory and local header both tell the size; make it small in both.
    archive.write_bytes(content.replace(struct.pack("<I", 50_000), struct.pack("<I", 10)))

    assert unpack.sizes(archive) == {"w.bin": 10}
    with pytest.raises(CatalogError, match="not a sound zip"):
        unpack.extract(archive, {"w.bin": "w.bin"}, tmp_path / "v", lambda _: None)
    assert (tmp_path / "v" / "w.bin").stat().st_size <= 10


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {str(n): b"" for n in range(10_001)})

    with pytest.raises(CatalogError, match="10001 files"):
        unpack.sizes(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("config.json", "other")

    with pytest.raises(CatalogError, match="same name twice"):
        unpack.sizes(tmp_path / "x.zip")


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"w.bin": b"w"}, zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    archive.write_bytes(bytes(content))

    with pytest.raises(CatalogError, match="is encrypted"):
        unpack.sizes(archive)


@pytest.mark.parametrize("cut", [1, 30, 60])
def test_a_cut_off_archive_is_refused(tmp_path: Path, cut: int) -> None:
    archive = zipped(tmp_path / "x.zip", {"w.bin": bytes(range(256))})
    archive.write_bytes(archive.read_bytes()[:-cut])

    with pytest.raises(CatalogError, match="not a sound zip"):
        unpack.sizes(archive)


def test_damaged_content_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"w.bin": bytes(range(256)) * 10})
    content = bytearray(archive.read_bytes())
    content[60] ^= 0xFF
    archive.write_bytes(bytes(content))

    with pytest.raises(CatalogError, match="not a sound zip"):
        unpack.extract(archive, {"w.bin": "w.bin"}, tmp_path / "v", lambda _: None)


def test_what_is_no_zip_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"Rar!")

    with pytest.raises(CatalogError, match=r"x.zip: not a sound zip"):
        unpack.sizes(tmp_path / "x.zip")
