"""What the server does with more load than it can carry: goodput, refusals, recovery.

One version whose every request takes a fixed time; server and load generator pinned to different
cores. First closed loops find the peak goodput, then requests come at a fixed rate, whatever
becomes of those before them (an open loop), at multiples of that peak. A request's time counts
from when it was due, so a generator that lags cannot hide waiting.

    python -m benchmarks.overload [--seconds 10] [--service-ms 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

MULTIPLES = (0.5, 1.0, 2.0, 4.0)
CLOSED_LOOPS = 16
QUEUED_S = 0.5  # the bound of the queue, as seconds of work
_CODE = """
import os, time
SERVICE_S = float(os.environ["SERVICE_S"])
def rerank(query, docs):
    time.sleep(SERVICE_S)
    return [0.5] * len(docs)
"""
_BODY = json.dumps({"query": "q", "docs": ["one", "two"]}).encode()
_DOCS = 2
_SETTLED_S = 0.1  # an answer that fast, beyond the service time, waited behind next to nothing


@dataclass(frozen=True, slots=True)
class Sample:
    """One request."""

    status: int
    seconds: float
    ended: float
    """Clock of `time.perf_counter`."""


@dataclass(frozen=True, slots=True)
class Run:
    """One offered load."""

    offered: float
    """Requests per second."""
    begin: float
    seconds: float
    samples: Sequence[Sample]

    @property
    def goodput(self) -> float:
        """Return answers with scores per second, those after the load's end left out."""
        end = self.begin + self.seconds
        return sum(s.status == 200 and s.ended <= end for s in self.samples) / self.seconds

    def times(self, status: int) -> list[float]:
        """Return how long the requests with that status took, sorted."""
        return sorted(s.seconds for s in self.samples if s.status == status)


@dataclass(frozen=True, slots=True)
class Found:
    """All that was measured."""

    peak: float
    runs: Sequence[Run]
    recovery_s: float
    """From the end of the greatest load to an answer that did not have to wait."""


class Client:
    """Keep-alive connections, as many as there are requests at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, due: float) -> Sample:
        """Send one request and read its answer."""
        reader, writer = (
            self._idle.pop()
            if self._idle
            else await asyncio.open_connection("127.0.0.1", self._port)
        )
        writer.write(
            b"POST /rerank HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
            % (len(_BODY), _BODY)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
        await reader.readexactly(length)
        self._idle.append((reader, writer))
        ended = time.perf_counter()
        return Sample(int(head.split(None, 2)[1]), ended - due, ended)

    def close(self) -> None:
        """Hang up."""
        for _, writer in self._idle:
            writer.close()


async def peak(client: Client, seconds: float) -> float:
    """Return the requests per second that closed loops get through."""
    end = time.perf_counter() + seconds
    done = 0

    async def loop() -> None:
        nonlocal done
        while time.perf_counter() < end:
            sample = await client.ask(time.perf_counter())
            done += sample.status == 200 and sample.ended <= end

    await asyncio.gather(*(loop() for _ in range(CLOSED_LOOPS)))
    return done / seconds


async def offer(client: Client, rate: float, seconds: float) -> Run:
    """Send requests at a fixed rate, and collect what becomes of those due in that time."""
    begin = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        due = begin + number / rate
        delay = due - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.append(asyncio.ensure_future(client.ask(due)))
    return Run(rate, begin, seconds, await asyncio.gather(*tasks))


async def recover(client: Client, service_s: float) -> float:
    """Return how long it takes until a request need not wait behind the load that just ended."""
    begin = time.perf_counter()
    while True:
        sample = await client.ask(time.perf_counter())
        if sample.status == 200 and sample.seconds < service_s + _SETTLED_S:
            return time.perf_counter() - begin
        await asyncio.sleep(0.02)


async def drive(port: int, seconds: float, service_s: float) -> Found:
    """Run the whole course against a server."""
    client = Client(port)
    await peak(client, 1.0)  # warm
    most = await peak(client, seconds)
    runs: list[Run] = []
    for multiple in MULTIPLES:
        load = asyncio.ensure_future(offer(client, multiple * most, seconds))
        await asyncio.sleep(seconds)  # the load ends here; its last answers come later
        recovery_s = await recover(client, service_s)
        runs.append(await load)
    client.close()
    return Found(most, runs, recovery_s)


@contextmanager
def server(cores: set[int], service_s: float) -> Iterator[int]:
    """Run a server on these cores with one version of fixed service time; gives its port."""
    root = Path(tempfile.mkdtemp(prefix="rrs-bench-", dir="/tmp"))
    (root / "v1").mkdir()
    (root / "v1" / "rerank.py").write_text(_CODE)
    pairs = max(_DOCS, int(QUEUED_S / service_s) * _DOCS)
    version = {"max_queued_pairs": pairs, "env": {"SERVICE_S": str(service_s)}}
    config = {"default_version": "v1", "versions": {"v1": version}, "server": {"port": 0}}
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "rerank_server", "start", "--foreground"]
    command += ["--config", str(root / "config.yaml")]
    command += ["--run-dir", str(root / "run"), "--state-dir", str(root / "state")]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command],
            stdout=log,
            stderr=log,
        )
    try:
        yield _port(root / "run" / "state.json", process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(root)


def _port(state: Path, process: subprocess.Popen[bytes]) -> int:
    while process.poll() is None:
        found = json.loads(state.read_text()) if state.exists() else {}
        if found and found["versions"][0]["state"] == found["gateway"]["state"] == "RUNNING":
            return int(found["server"]["port"])
        time.sleep(0.02)
    raise SystemExit("the server did not start")


def measure(seconds: float = 10.0, service_s: float = 0.01) -> Found:
    """Pin both sides and run the course."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise SystemExit("two cores are needed: one for the server, one for the load")
    with server(set(others), service_s) as port:
        os.sched_setaffinity(0, {first})
        try:
            return asyncio.run(drive(port, seconds, service_s))
        finally:
            os.sched_setaffinity(0, {first, *others})


def _ms(times: Sequence[float], share: float) -> str:
    if not times:
        return ""
    return f"{times[min(len(times) - 1, int(share * len(times)))] * 1000:.0f}"


def report(found: Found) -> str:
    """Return the runs as a Markdown table, and what is promised of them."""
    rows = [
        f"| {run.offered:.0f} ({run.offered / found.peak:.1f}) | {run.goodput:.0f} "
        f"| {run.goodput / found.peak:.2f} | {_ms(run.times(200), 0.5)} "
        f"| {_ms(run.times(200), 0.95)} | {_ms(run.times(200), 0.99)} | {len(run.times(429))} "
        f"| {_ms(run.times(429), 0.99)} "
        f"| {sum(s.status not in (200, 429) for s in run.samples)} |"
        for run in found.runs
    ]
    refused = found.runs[-1].times(429)
    slowest = f"{max(refused) * 1000:.0f}" if refused else "-"
    median = f"{statistics.median(refused) * 1000:.0f}" if refused else "-"
    share = found.runs[-1].goodput / found.peak
    return "\n".join(
        [
            f"Peak goodput, {CLOSED_LOOPS} closed loops: {found.peak:.0f} requests a second.",
            "",
            "| offered/s (of peak) | goodput/s | of peak | p50 ms | p95 ms | p99 ms "
            "| refused | refusal p99 ms | others |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"At {MULTIPLES[-1]:g} times the peak: goodput {share:.2f} of it"
            f" (bound: 0.90), refusals within {slowest} ms, median {median} (bound: 100), "
            f"recovery {found.recovery_s:.2f} s after the load's end (bound: 2).",
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what overload does.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--service-ms", type=float, default=10.0)
    arguments = parser.parse_args()
    print(report(measure(arguments.seconds, arguments.service_ms / 1000)))


if __name__ == "__main__":
    main()
