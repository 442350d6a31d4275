"""Runs the gateway: gunicorn on an inherited socket, tied to the supervisor's life."""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
from collections.abc import Mapping
from typing import NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger

from rerank_server import logs
from rerank_server.gateway import lifeline
from rerank_server.gateway.options import Options, parse
from rerank_server.gateway.server import GatewayWorker

log = logging.getLogger(__name__)

_HANG_S = 30  # a process whose event loop stands still for so long is replaced
_BACKLOG = 2048
_NOISY = ("gunicorn.error", "uvicorn.error")
"""They tell each step of their boot; what matters is logged here."""
_OTHERS = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC")
"""What systemd tells the supervisor; gunicorn would believe that it is meant."""


def main() -> NoReturn:
    """Serve until SIGTERM, or until the supervisor is gone."""
    options = parse(sys.argv[1:])
    lifeline.die_with_parent(options.parent_pid)
    lifeline.watch(options.lifeline_fd)
    for name in _OTHERS:
        os.environ.pop(name, None)
    logs.configure(options.log_format, options.log_level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
    _raise_descriptor_limit()
    (options.run_dir / "gateway").mkdir(mode=0o700, exist_ok=True)
    application = GatewayApplication(options)
    gc.collect()
    gc.freeze()  # the processes share what is loaded by now; the collector must not touch it
    GatewayArbiter(application).run()
    sys.exit(0)


class GatewayApplication(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn is told, in place of its command line and files."""

    def __init__(self, options: Options) -> None:
        self.options = options
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's own settings."""
        for name, value in self._settings().items():
            self.cfg.set(name, value)

    def load(self) -> NoReturn:
        """Not called: each process builds its application itself, after the fork."""
        raise NotImplementedError

    def _settings(self) -> Mapping[str, object]:
        options = self.options
        return {
            "bind": [f"fd://{options.listen_fd}"],
            "workers": options.processes,
            "worker_class": GatewayWorker,
            "worker_tmp_dir": os.fspath(options.run_dir / "gateway"),
            "logger_class": PlainLogger,
            "loglevel": options.log_level,
            "timeout": _HANG_S,
            "graceful_timeout": int(options.drain_timeout_s),
            "backlog": _BACKLOG,
            "control_socket_disable": True,
        }


class PlainLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Hands gunicorn's messages to the root logger, with everybody else's."""

    def setup(self, cfg: Config) -> None:
        """Keep gunicorn from adding handlers of its own."""
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True


class GatewayArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """Starts the processes, and starts one anew when it dies."""

    def handle_hup(self) -> None:
        """Do nothing: gunicorn's reload drops clients, and the supervisor has a better one."""

    handle_usr2 = handle_ttin = handle_ttou = handle_winch = handle_hup


def _raise_descriptor_limit() -> None:
    """Connections are descriptors: allow as many as this user may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
