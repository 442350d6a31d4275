"""The gunicorn worker that serves: uvicorn on uvloop, with the gateway's protocol and app."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.arbiter import Arbiter
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from rerank_server.gateway import lifeline
from rerank_server.gateway.app import Parts, build
from rerank_server.gateway.evidence import Evidence
from rerank_server.gateway.ledger import LossLedger
from rerank_server.gateway.metrics import Metrics
from rerank_server.gateway.options import Options
from rerank_server.gateway.protocol import GatewayProtocol
from rerank_server.gateway.state import StateFile
from rerank_server.gateway.table import RoutesFile, limits_in
from rerank_server.gateway.upstream import SocketUpstream
from rerank_server.gateway.walk import Walker

if TYPE_CHECKING:
    from rerank_server.gateway.spans import Spans

log = logging.getLogger(__name__)

_GC_THRESHOLD = (10_000, 20, 50)  # requests make few cycles; the default scans 30 times as often


class GatewayWorker(UvicornWorker):  # type: ignore[misc]  # the package has no types
    """One gateway process."""

    CONFIG_KWARGS = {  # noqa: RUF012  # as the base class has it
        "loop": "uvloop",
        "ws": "none",
        "lifespan": "off",
        "interface": "asgi3",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
    }

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        logging.getLogger("uvicorn.error").propagate = True  # to the one handler there is

    def init_process(self) -> None:
        """Tie this process to the arbiter, then serve."""
        options: Options = self.app.options
        lifeline.die_with_parent(self.ppid)
        lifeline.watch(options.lifeline_fd)
        gc.set_threshold(*_GC_THRESHOLD)
        super().init_process()

    def load_wsgi(self) -> None:
        """Build the application: after the fork, since the metrics' slot is this process' own."""
        options: Options = self.app.options
        run_dir = options.run_dir
        self._spans = _spans(options.otlp_endpoint)
        routes = RoutesFile(run_dir / "routes.json", options.processes)
        self._evidence = Evidence(run_dir / "gateway", routes)
        parts = Parts(
            routes=routes,
            state=StateFile(run_dir / "state.json"),
            metrics=Metrics(run_dir / "metrics"),
            walker=Walker(SocketUpstream(), LossLedger(run_dir / "gateway")),
            generation=options.generation,
            evidence=self._evidence,
            log_access=options.access_log,
            observe=None if self._spans is None else self._spans.record,
        )
        self.wsgi = build(parts)
        limits = functools.partial(limits_in, routes)
        self.config.http = functools.partial(GatewayProtocol, limits=limits)
        self.config.timeout_graceful_shutdown = int(options.drain_timeout_s)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        ready_fd = self.app.options.ready_fd
        server = _ReadyServer(self.config, ready_fd, self._evidence, self._spans)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


def _spans(endpoint: str | None) -> Spans | None:
    if endpoint is None:
        return None
    from rerank_server.gateway.spans import Spans  # an extra: not there for everybody

    return Spans(endpoint)


def _log_death(task: asyncio.Task[None]) -> None:
    """Say why a task ended that never should; the supervisor notices by the silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a task ended", extra={"task": task.get_name()}, exc_info=error)


class _ReadyServer(Server):
    def __init__(self, config: Any, ready_fd: int, evidence: Evidence, spans: Spans | None) -> None:
        super().__init__(config)
        self._ready_fd = ready_fd
        self._evidence = evidence
        self._teller: asyncio.Task[None] | None = None
        self._spans = spans

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._teller = asyncio.create_task(self._evidence.run(), name="evidence")
        self._teller.add_done_callback(_log_death)
        with contextlib.suppress(OSError):  # the supervisor may have stopped listening for it
            os.write(self._ready_fd, b"ready %d\n" % os.getpid())
        log.info("gateway process ready", extra={"pid": os.getpid()})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.wait([self._teller])  # it tells once more, what came last included
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
