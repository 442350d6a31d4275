"""A headless Chromium that opens a page as a person would, and tells what came of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from tests.conftest import lack


@dataclass(frozen=True, slots=True)
class Opened:
    """The page after its script has run."""

    dom: str
    complaints: list[str]
    """What the browser wrote to its console."""

    def elements(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of that name."""
        return [attributes for name, attributes in read(self.dom).started if name == tag]


class Reader(HTMLParser):
    """Reads a page, and refuses one whose elements do not close in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.started: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.started.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        opened = self._open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def close(self) -> None:
        super().close()
        assert not self._open, f"not closed: {self._open}"


def read(html: str) -> Reader:
    """Return the elements and texts of a page."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def opened(page: Path, fragment: str = "") -> Opened:
    """Open a page of this machine without any network, and let its script run."""
    chromium = shutil.which("chromium")
    if chromium is None:
        lack("no chromium; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="rrs-", dir="/tmp") as profile:
        done = subprocess.run(
            [
                chromium,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *(f"--user-data-dir={profile}", "--proxy-server=127.0.0.1:9"),
                *("--enable-logging=stderr", "--log-level=0", "--virtual-time-budget=5000"),
                *("--dump-dom", f"{page.as_uri()}{fragment}"),
            ],
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
    complaints = re.findall(r"^.*CONSOLE.*$", done.stderr, re.MULTILINE)
    return Opened(done.stdout, complaints)
