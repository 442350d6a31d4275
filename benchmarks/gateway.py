"""What the hop to a worker costs: the gateway before a do-nothing worker, and answering by itself.

Runs the real application (keys, limits, metrics, access line, routes file) in one process on uvloop
behind the gateway's own HTTP protocol, alternately with the socket upstream and with one that
returns a constant (A B A B), under `wrk` with keep-alive connections posting one 2 KB body. The
share is requests per second with the hop by requests per second without, in the same pair of runs.

    python -m benchmarks.gateway [--seconds 4] [--pairs 5] [--connections 16]
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools
import orjson
import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from rerank_server import logs
from rerank_server.core.access import Access, ApiKey, digest_of
from rerank_server.core.limits import Limits
from rerank_server.core.routing import RoutesTable, Target, VersionRoute, to_json
from rerank_server.gateway.app import Parts, build
from rerank_server.gateway.connection import Answer
from rerank_server.gateway.ledger import LossLedger
from rerank_server.gateway.metrics import Metrics
from rerank_server.gateway.protocol import GatewayProtocol
from rerank_server.gateway.state import StateFile
from rerank_server.gateway.table import RoutesFile
from rerank_server.gateway.upstream import Errand, Outcome, SocketUpstream, Upstream
from rerank_server.gateway.walk import Walker

CONNECTIONS = 16
_DOCS = 10
_BODY = orjson.dumps({"query": "what does the hop cost", "docs": ["word " * 38] * _DOCS})
_ANSWER = orjson.dumps(
    {
        "raw": [i / 7 for i in range(_DOCS)],
        "unit": [i / 11 for i in range(_DOCS)],
        "tokens": [40] * _DOCS,
        "truncated": [],
        "queue_ms": 0.1,
        "tokenize_ms": 0.1,
        "inference_ms": 0.1,
    }
)
_KEY = "rrs_the-key-that-wrk-sends"
_OTHERS = tuple(ApiKey(digest_of(f"rrs_some-other-key-{n}")) for n in range(9))
_LIMITS = Limits(60.0, 33_554_432, 10_000, 30.0, 30.0)


@dataclass(frozen=True, slots=True)
class Pair:
    """One run with the hop and one without, right after each other."""

    hop: float
    """Requests per second."""
    hop_p50_ms: float
    bare: float
    """Requests per second."""
    bare_p50_ms: float

    @property
    def share(self) -> float:
        """Return the part of the rate that the hop leaves."""
        return self.hop / self.bare


class Constant:
    """An upstream that answers without a worker."""

    async def score(self, target: Target, errand: Errand) -> Outcome:
        """Return the do-nothing worker's answer."""
        return Answer(200, _ANSWER, None)


class DoNothing(asyncio.Protocol):
    """A worker's connection: parses each request whole, answers the constant."""

    _WIRE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(_ANSWER), _ANSWER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer."""
        self._transport.write(self._WIRE)


async def serve_worker(run: Path) -> None:
    """Be the do-nothing worker until killed."""
    server = await asyncio.get_running_loop().create_unix_server(DoNothing, str(run / "w.sock"))
    print("ready", flush=True)
    await server.serve_forever()


async def serve_gateway(run: Path, upstream: Upstream, name: str) -> None:
    """Be a gateway process until killed; prints its port."""
    logs.configure("json", "info")
    scratch = run / name
    (scratch / "metrics").mkdir(parents=True, exist_ok=True)
    routes = RoutesFile(run / "routes.json")
    app = build(
        Parts(
            routes=routes,
            state=StateFile(run / "state.json"),
            metrics=Metrics(scratch / "metrics"),
            walker=Walker(upstream, LossLedger(scratch)),
            generation=1,
        )
    )
    config = Config(
        app, lifespan="off", ws="none", interface="asgi3", log_config=None, access_log=False,
        proxy_headers=False, server_header=False,
        http=cast(
            type[asyncio.Protocol],
            functools.partial(GatewayProtocol, limits=lambda: _LIMITS),
        ),
    )  # fmt: skip
    config.load()
    state = ServerState()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: config.http_protocol_class(  # type: ignore[call-arg]  # uvicorn's own call
            config=config, server_state=state, app_state={}, _loop=loop
        ),
        "127.0.0.1",
        0,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def child(role: str, run: Path) -> Iterator[str]:
    """Run this file in a role of its own; gives the first line it prints."""
    log = (run / f"{role}.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, __file__, "--role", role, "--run", str(run)],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        log.close()


def load(port: str, connections: int, seconds: int, script: Path) -> tuple[float, float]:
    """Return requests per second and the median latency in milliseconds."""
    output = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script),
         f"http://127.0.0.1:{port}/rerank/v1"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)\b", output)
    assert rate is not None
    assert median is not None
    return float(rate[1]), float(median[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[median[2]]


def measure(seconds: int = 4, pairs: int = 5, connections: int = CONNECTIONS) -> list[Pair]:
    """Run the pairs, one after the other."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; try: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="rrs-", dir="/tmp") as directory:
        run = Path(directory)
        script = _prepare(run)
        with (
            child("worker", run),
            child("hop", run) as hop_port,
            child("constant", run) as bare_port,
        ):
            for port in (hop_port, bare_port):
                load(port, connections, 1, script)  # warm
            return [
                Pair(
                    *load(hop_port, connections, seconds, script),
                    *load(bare_port, connections, seconds, script),
                )
                for _ in range(pairs)
            ]


def report(found: Sequence[Pair]) -> str:
    """Return the runs as a Markdown table, and the median share."""
    rows = [
        f"| {number} | {pair.hop:.0f} | {pair.hop_p50_ms:.2f} | {pair.bare:.0f} "
        f"| {pair.bare_p50_ms:.2f} | {pair.share:.2f} |"
        for number, pair in enumerate(found, 1)
    ]
    share = statistics.median(pair.share for pair in found)
    return "\n".join(
        [
            "| pair | with the hop, req/s | p50 ms | constant, req/s | p50 ms | share |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Median share: {share:.2f} (bound: 0.30), one gateway process, "
            f"{len(_BODY)} byte bodies, {_DOCS} documents.",
        ]
    )


def _prepare(run: Path) -> Path:
    """Publish a routes table for the do-nothing worker; return wrk's script."""
    route = VersionRoute(
        "v1", "/rerank/v1", "", True, (Target("v1.1", str(run / "w.sock")),), None, ()
    )
    access = Access(keys=(*_OTHERS, ApiKey(digest_of(_KEY))))
    table = RoutesTable(1, 1, "v1", None, {"v1": route}, _LIMITS, access)
    (run / "routes.json").write_bytes(orjson.dumps(to_json(table)))
    script = run / "post.lua"
    script.write_text(
        f'wrk.method = "POST"\nwrk.body = {json.dumps(_BODY.decode())}\n'
        f'wrk.headers["Authorization"] = "Bearer {_KEY}"\n'
    )
    return script


def main() -> None:
    """Measure and print, or play one of the roles."""
    parser = argparse.ArgumentParser(description="Measure what the hop to a worker costs.")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--role", choices=("worker", "hop", "constant"), help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "worker":
        uvloop.run(serve_worker(arguments.run))
    elif arguments.role is not None:
        upstream = Constant() if arguments.role == "constant" else SocketUpstream()
        uvloop.run(serve_gateway(arguments.run, upstream, arguments.role))
    else:
        print(report(measure(arguments.seconds, arguments.pairs, arguments.connections)))


if __name__ == "__main__":
    main()
