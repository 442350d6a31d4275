"""A real worker process for tests: spawned as the supervisor spawns it, spoken to as it speaks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

DEADLINE_S = 20.0
"""How long a test waits for a message or an end before it calls it missing."""

PARAMETERS: Mapping[str, object] = {
    "version": "v1",
    "instance": "v1.1",
    "model": "model",
    "device": "cpu",
    "batch_size": 4,
    "max_length": 512,
    "max_batch_tokens": 4096,
    "use_fp16": False,
    "threads": 1,
    "max_queued_pairs": 100,
    "clean": False,
}


@dataclass
class WorkerProcess:
    """One worker process, its control channel and its lifeline."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    lifeline: int
    log: Path
    socket_path: Path
    directory: Path
    received: list[Mapping[str, object]] = field(default_factory=list)
    _rest: bytes = b""

    @classmethod
    def spawn(
        cls, directory: Path, scratch: Path, environment: Mapping[str, str] | None = None
    ) -> WorkerProcess:
        """Start a worker for the version in `directory`; it waits to be configured."""
        ours, theirs = socket.socketpair()
        pipe_read, pipe_write = os.pipe()
        log = scratch / "worker.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-m", "rerank_workers"),
                    *("--control-fd", str(theirs.fileno())),
                    *("--lifeline-fd", str(pipe_read)),
                    *("--parent-pid", str(os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=directory,
                env={"PATH": os.defpath, **_coverage(), **(environment or {})},
                pass_fds=(theirs.fileno(), pipe_read),
                start_new_session=True,
            )
        theirs.close()
        os.close(pipe_read)
        return cls(process, ours, pipe_write, log, scratch / "w.sock", directory)

    def send(self, kind: str, **fields: object) -> None:
        """Send one message down."""
        self.control.sendall(json.dumps({"type": kind, **fields}).encode() + b"\n")

    def configure(self, **changes: object) -> None:
        """Send `configure` with these parameters changed; a value of `...` leaves one out."""
        paths = {"directory": str(self.directory), "socket": str(self.socket_path)}
        fields = {**PARAMETERS, **paths, **changes}
        self.send("configure", **{k: v for k, v in fields.items() if v is not ...})

    def read(self) -> Mapping[str, object] | None:
        """Return the next message up; None when the worker closed the channel."""
        self.control.settimeout(DEADLINE_S)
        while b"\n" not in self._rest:
            try:
                data = self.control.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        message: Mapping[str, object] = json.loads(line)
        self.received.append(message)
        return message

    def wait_for(self, kind: str, **wanted: object) -> Mapping[str, object]:
        """Read until a message of this kind with these fields comes; return it."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            message = self.read()
            assert message is not None, f"no {kind} came; log: {self.log.read_text()}"
            if message["type"] == kind and all(message[k] == v for k, v in wanted.items()):
                return message
        raise AssertionError(f"no {kind} {wanted} within {DEADLINE_S} s: {self.received[-3:]}")

    def start(self, **changes: object) -> Mapping[str, object]:
        """Configure and wait until ready; return the `ready` message."""
        self.configure(**changes)
        return self.wait_for("ready")

    def client(self) -> httpx.Client:
        """Return an HTTP client on the worker's socket; the caller closes it."""
        transport = httpx.HTTPTransport(uds=str(self.socket_path))
        return httpx.Client(transport=transport, base_url="http://worker", timeout=DEADLINE_S)

    def connect(self) -> socket.socket:
        """Return a plain connection to the worker's socket; the caller closes it."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(DEADLINE_S)
        connection.connect(str(self.socket_path))
        return connection

    def wait_exit(self) -> int:
        """Wait until the process is gone; return its exit code."""
        return self.process.wait(DEADLINE_S)

    def close_lifeline(self) -> None:
        """End the pipe, as the death of the supervisor does."""
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        self.close_lifeline()
        self.control.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_S)


def _coverage() -> Mapping[str, str]:
    keys = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
    return {key: os.environ[key] for key in keys if key in os.environ}
