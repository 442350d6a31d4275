"""Requests to a worker process that runs the scripted version."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass

from tests.workers.worker_process import WorkerProcess

BARE = "def rerank(query, docs):\n    return [len(doc) / 10 for doc in docs]\n"


def http(worker: WorkerProcess, *docs: str, query: str = "q", **headers: str) -> bytes:
    """Return the bytes of a request to score."""
    body = json.dumps({"query": query, "docs": docs}).encode()
    lines = [f"x-rerank-{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = ["POST /score HTTP/1.1", f"content-length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


@dataclass
class Busy:
    """A request that holds the device until it is released."""

    worker: WorkerProcess
    connection: socket.socket

    @classmethod
    def occupy(cls, worker: WorkerProcess, *docs: str) -> Busy:
        """Send the document `gate` and others; return once their batch is on the device."""
        connection = worker.connect()
        connection.sendall(http(worker, "gate", *docs))
        (worker.directory / "arrived").read_bytes()
        return cls(worker, connection)

    def release(self) -> bytes:
        """Let the batch end; return the whole answer."""
        (self.worker.directory / "gate").write_bytes(b"")
        with self.connection:
            answer = self.connection.recv(65536)
            head, _, body = answer.partition(b"\r\n\r\n")
            length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
            while len(body) < length:
                body += self.connection.recv(65536)
        return head + body


def round_trip(worker: WorkerProcess, times: int = 2) -> None:
    """Return when the worker's event loop has handled all that was sent before, twice over."""
    with worker.client() as client:
        for _ in range(times):
            assert client.get("/health").status_code == 200


def score(worker: WorkerProcess, *docs: str, query: str = "q") -> tuple[int, dict[str, object]]:
    """Return the status and body of a request to score."""
    with worker.client() as client:
        answer = client.post("/score", json={"query": query, "docs": docs})
    return answer.status_code, answer.json()


def scored(worker: WorkerProcess) -> list[str]:
    """Return the documents that the model scored, in order."""
    return (worker.directory / "scored").read_text().split()
