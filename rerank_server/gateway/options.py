"""The gateway's command line: all it is told by the supervisor before it reads any file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_DRAIN_TIMEOUT_S = 600.0  # every request has its own deadlines; the supervisor kills sooner


@dataclass(frozen=True, slots=True)
class Options:
    """What one gateway is started with."""

    listen_fd: int
    """Listening socket, owned by the supervisor."""
    lifeline_fd: int
    """Read end of a pipe that ends when the supervisor does."""
    ready_fd: int
    """Write end of a pipe; each process writes `ready <pid>` and a newline once it serves."""
    parent_pid: int
    run_dir: Path
    generation: int
    processes: int
    log_format: Literal["console", "json"]
    log_level: str
    otlp_endpoint: str | None
    """Base address of an OpenTelemetry collector, if there is one."""
    access_log: bool
    """Whether each request is logged."""
    drain_timeout_s: float
    """After SIGTERM, the longest wait for requests in flight."""


def parse(argv: Sequence[str]) -> Options:
    """Read the command line; exits with status 2 on a mistake."""
    parser = argparse.ArgumentParser(prog="rerank_server.gateway")
    for name in ("listen-fd", "lifeline-fd", "ready-fd", "parent-pid", "generation"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--log-format", choices=("console", "json"), default="console")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--otlp-endpoint")
    parser.add_argument("--access-log", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--drain-timeout-s", type=float, default=_DRAIN_TIMEOUT_S)
    return Options(**vars(parser.parse_args(argv)))
