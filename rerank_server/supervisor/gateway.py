"""The hands of the loop for the gateway: the listening socket, its processes, their readiness."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from rerank_server.core.front import (
    FrontEvent,
    FrontExited,
    FrontReady,
    FrontSpawned,
    FrontSpec,
)
from rerank_server.errors import ListenError
from rerank_server.supervisor.process import Child, Command, child_environment, describe
from rerank_server.supervisor.site import Site

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; the supervisor owns the socket, so connections queue while nobody serves.

    Raises:
        ListenError: the address is in use, not allowed or not of this host.
    """
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        sock = socket.socket(address[0], address[1])
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address[4])
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if "in use" in reason:
            raise ListenError(
                f"{host}:{port} is in use by another process; choose another with --port"
            ) from error
        raise ListenError(f"cannot listen on {host}:{port}: {reason}") from error
    return sock


@dataclass(slots=True)
class _Gateway:
    child: Child
    ready_fd: int
    processes: int
    ready: int = 0


class Gateways:
    """All gateway generations of this server. Methods are called from the loop's thread."""

    def __init__(self, site: Site, happened: Callable[[FrontEvent], None]) -> None:
        self._site = site
        self._happened = happened
        self._gateways: dict[int, _Gateway] = {}

    def start(self, generation: int, spec: FrontSpec, listener: socket.socket) -> None:
        """Spawn a gateway on the listening socket; the outcome comes as an event."""
        ready_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        command = Command(
            argv=self._argv(generation, spec, listener.fileno(), write_fd),
            cwd="/",
            env={
                **child_environment(os.environ),
                "PROMETHEUS_MULTIPROC_DIR": str(self._site.run.metrics),
            },
            pass_fds=(listener.fileno(), self._site.lifeline_fd, write_fd),
            log=self._site.state.log("gateway"),
        )
        try:
            child = Child(command, self._site.loop, lambda code: self._on_exit(generation, code))
        except OSError as error:
            os.close(ready_fd)
            self._happened(FrontExited(generation, f"could not be spawned: {error.strerror}"))
            return
        finally:
            os.close(write_fd)
        self._gateways[generation] = _Gateway(child, ready_fd, spec.processes)
        self._site.loop.add_reader(ready_fd, self._on_ready, generation)
        self._site.janitor.watch(child.pid)
        self._happened(FrontSpawned(generation, child.pid))

    def owns(self, pid: int) -> bool:
        """Tell whether this is the pid of a gateway whose exit will be handled here."""
        return any(gateway.child.pid == pid for gateway in self._gateways.values())

    def stop(self, generation: int) -> None:
        """TERM: it finishes what is in flight."""
        if (gateway := self._gateways.get(generation)) is not None:
            gateway.child.terminate()

    def kill(self, generation: int) -> None:
        """End its whole process group at once."""
        if (gateway := self._gateways.get(generation)) is not None:
            gateway.child.kill(dump=False)
        else:  # issued, but a failed turn of the loop kept it from being spawned
            self._happened(FrontExited(generation, "was never spawned"))

    def _argv(
        self, generation: int, spec: FrontSpec, listen_fd: int, ready_fd: int
    ) -> tuple[str, ...]:
        options: dict[str, object] = {
            "listen-fd": listen_fd,
            "lifeline-fd": self._site.lifeline_fd,
            "ready-fd": ready_fd,
            "parent-pid": os.getpid(),
            "run-dir": self._site.run.path,
            "generation": generation,
            "processes": spec.processes,
            "log-format": spec.log_format,
            "log-level": spec.log_level,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        words += [] if spec.otlp_endpoint is None else ["--otlp-endpoint", spec.otlp_endpoint]
        words.append("--access-log" if spec.access_log else "--no-access-log")
        return (sys.executable, "-I", "-u", "-m", "rerank_server.gateway", *words)

    def _on_ready(self, generation: int) -> None:
        gateway = self._gateways[generation]
        try:
            said = os.read(gateway.ready_fd, 4096)
        except BlockingIOError:
            return
        if not said:
            self._site.loop.remove_reader(gateway.ready_fd)
            return
        gateway.ready += said.count(b"\n")
        if gateway.ready >= gateway.processes:
            self._happened(FrontReady(generation))

    def _on_exit(self, generation: int, code: int) -> None:
        gateway = self._gateways.pop(generation)
        self._site.loop.remove_reader(gateway.ready_fd)
        os.close(gateway.ready_fd)
        self._site.janitor.release(gateway.child.pid)
        detail = describe(
            code, is_ours=gateway.child.was_killed, oom_kills=0, tail=gateway.child.tail(code)
        )
        self._happened(FrontExited(generation, detail))
