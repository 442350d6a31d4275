"""A real gateway in its own processes, started as the supervisor starts it."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx
import orjson

from rerank_server.core.routing import RoutesTable, to_json

PATIENCE_S = 15.0


class Fleet:
    """What the gateway sees of a supervisor: a run dir, a listening socket, a lifeline."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._lifeline_read, self._lifeline = os.pipe()
        self._gateways: list[GatewayProcess] = []

    def publish(self, routes: RoutesTable) -> None:
        """Publish a routes table as the supervisor does."""
        temporary = self.run_dir / "routes.tmp"
        temporary.write_bytes(orjson.dumps(to_json(routes)))
        temporary.rename(self.run_dir / "routes.json")

    def start(
        self, *more: str, generation: int = 1, parent_pid: int | None = None
    ) -> GatewayProcess:
        """Spawn a gateway on the listening socket."""
        ready, write_end = os.pipe()
        listen_fd = self._listener.fileno()
        command = [
            sys.executable, "-I", "-m", "rerank_server.gateway",
            "--listen-fd", str(listen_fd), "--lifeline-fd", str(self._lifeline_read),
            "--ready-fd", str(write_end), "--parent-pid", str(parent_pid or os.getpid()),
            "--run-dir", str(self.run_dir), "--generation", str(generation), *more,
        ]  # fmt: skip
        with (self.run_dir / f"gateway-{generation}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                pass_fds=(listen_fd, self._lifeline_read, write_end),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"NOTIFY_SOCKET": "/nowhere"},
            )
        os.close(write_end)
        gateway = GatewayProcess(process, ready)
        self._gateways.append(gateway)
        return gateway

    def log(self, generation: int = 1) -> str:
        """Return what a gateway logged."""
        return (self.run_dir / f"gateway-{generation}.log").read_text()

    def get(self, path: str) -> httpx.Response:
        """Ask over a new connection."""
        return httpx.get(self.url + path, timeout=PATIENCE_S)

    def post(self, body: object, path: str = "/rerank") -> httpx.Response:
        """Ask over a new connection."""
        return httpx.post(self.url + path, json=body, timeout=PATIENCE_S)

    def cut_lifeline(self) -> None:
        """Do what the kernel does when the supervisor dies."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for gateway in self._gateways:
            gateway.close()
        self.cut_lifeline()
        os.close(self._lifeline_read)
        self._listener.close()


class GatewayProcess:
    """One gateway: the arbiter and its processes."""

    def __init__(self, process: subprocess.Popen[bytes], ready: int) -> None:
        self.process = process
        self._ready = ready
        self._said = b""

    def ready(self) -> int:
        """Wait until one more of its processes serves; return its pid."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._ready, selectors.EVENT_READ)
            while b"\n" not in self._said:
                assert selector.select(PATIENCE_S), "no process got ready in time"
                part = os.read(self._ready, 100)
                assert part, "the gateway ended before it was ready"
                self._said += part
        line, _, self._said = self._said.partition(b"\n")
        word, pid = line.split()
        assert word == b"ready"
        return int(pid)

    def detach_ready(self) -> int:
        """Give away the read end of its ready pipe."""
        ready, self._ready = self._ready, os.open(os.devnull, os.O_RDONLY)
        return ready

    def wait(self) -> int:
        """Wait for its end; return the exit status."""
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """End all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._ready)


def wait_gone(pid: int, patience_s: float = PATIENCE_S) -> None:
    """Wait until a process that is no child of ours has ended."""
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(fd, selectors.EVENT_READ)
                assert selector.select(patience_s), f"process {pid} lives on"
        finally:
            os.close(fd)


def pss_bytes(pids: list[int]) -> int:
    """Return the processes' proportional set size, what they share counted once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
