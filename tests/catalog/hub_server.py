"""A hub of models on the loopback interface that speaks both dialects and can misbehave."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What the hub holds and how it behaves."""

    repo: str = "org/model"
    files: dict[str, bytes] = field(default_factory=dict)
    lfs_suffixes: tuple[str, ...] = (".safetensors", ".bin", ".onnx")
    told_sizes: dict[str, int] = field(default_factory=dict)
    """Lies about sizes, by path."""
    break_off_after: int | None = None
    """Bytes after which each transfer of weights ends, while `break_offs` lasts."""
    break_offs: int = 0
    fails_after_break: bool = False
    """Whether the hub answers 503 after the first broken transfer."""
    ignores_ranges: bool = False
    statuses: list[int] = field(default_factory=list)
    """Answers to give to requests for files before serving them."""
    slow_s: float = 0.0
    """Pause after every kilobyte."""
    token: str | None = None
    listing: bytes | None = None
    """What ModelScope answers instead of the list of files."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of every request for a file."""
    url: str = ""

    def sha256(self, path: str) -> str:
        return hashlib.sha256(self.files[path]).hexdigest()

    def size(self, path: str) -> int:
        return self.told_sizes.get(path, len(self.files[path]))

    def is_lfs(self, path: str) -> bool:
        return path.endswith(self.lfs_suffixes)

    def hugging_face_listing(self) -> object:
        siblings = []
        for path, content in self.files.items():
            entry: dict[str, object] = {"rfilename": path, "size": self.size(path)}
            blob = b"blob %d\0" % len(content) + content
            entry["blobId"] = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
            if self.is_lfs(path):
                size = self.size(path)
                entry["lfs"] = {"sha256": self.sha256(path), "size": size, "pointerSize": 130}
            siblings.append(entry)
        return {"id": self.repo, "modelId": self.repo, "sha": COMMIT, "siblings": siblings}

    def modelscope_listing(self) -> object:
        entries: list[dict[str, object]] = [{"Type": "tree", "Path": "folder", "Size": 0}]
        entries += [
            {"Type": "blob", "Path": path, "Size": self.size(path), "Sha256": self.sha256(path)}
            for path in self.files
        ]
        return {"Code": 200, "Success": True, "Data": {"Files": entries}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        path = unquote(url.path)
        if not self._is_allowed():
            self._answer(401, b"{}")
        elif re.fullmatch(rf"/api/models/{self.hub.repo}(/revision/(main|v1\.0|{COMMIT}))?", path):
            self._answer(200, json.dumps(self.hub.hugging_face_listing()).encode())
        elif path == f"/api/v1/models/{self.hub.repo}/repo/files":
            listing = json.dumps(self.hub.modelscope_listing()).encode()
            self._answer(200, self.hub.listing or listing)
        elif path == f"/api/v1/models/{self.hub.repo}/repo":
            self._file(query["FilePath"][0])
        elif path.startswith(prefix := f"/{self.hub.repo}/resolve/{COMMIT}/"):
            self._file(path.removeprefix(prefix))
        else:
            # The error code is what the library tells the two kinds of absence by.
            kind = "RevisionNotFound" if "/revision/" in path else "RepoNotFound"
            self._answer(404, b"{}", {"X-Error-Code": kind})

    def _is_allowed(self) -> bool:
        given = (self.headers["Authorization"], self.headers["Cookie"])
        token = self.hub.token
        return token is None or f"Bearer {token}" in given or f"m_session_id={token}" in given

    def _file(self, path: str) -> None:
        asked = self.headers["Range"]
        self.hub.requests.append((path, asked))
        if self.hub.statuses:
            self._answer(self.hub.statuses.pop(0), b"")
            return
        content = self.hub.files[path]
        start = 0
        if asked and not self.hub.ignores_ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self._answer(416, b"")
                return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            end, size = len(content) - 1, len(content)
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        limit = self.hub.break_off_after
        if self.hub.break_offs > 0 and limit is not None and len(body) > limit:
            self.hub.break_offs -= 1
            body = body[:limit]
            self.close_connection = True
            if self.hub.fails_after_break:
                self.hub.statuses += [503] * 10
        for at in range(0, len(body), 1024):
            self.wfile.write(body[at : at + 1024])
            if self.hub.slow_s:
                threading.Event().wait(self.hub.slow_s)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(hub: FakeHub) -> Iterator[FakeHub]:
    """Run the hub on a free port until the block ends."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
