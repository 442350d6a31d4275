"""What a mirror costs those who ask: the time of requests with and without copies being scored.

Rounds without a mirror, with one, and with one to a version that hangs take turns on one running
server, switched by reloads, so that whatever else the machine does falls on all alike. Requests
come at random times, the same in all rounds of one number; a request's time counts from when it was
due. First with versions whose every request takes a fixed time and no CPU, then with the demo
models, one thread each.

    python -m benchmarks.mirror [--rounds 8] [--seconds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.mirror_server import Server, server

SERVICE_S = 0.01
BUSY = 0.3
"""Share of the time for which the version that is asked works on requests."""
_CODE = """
import os, time
SERVICE_S = float(os.environ["SERVICE_S"])
HANGS = os.environ.get("HANGS")
def rerank(query, docs):
    time.sleep(3600 if HANGS and query.startswith("Who") else SERVICE_S)
    return [1 / (1 + len(doc)) for doc in docs]
"""
_DOCS = (
    "The de Havilland Comet was the world's first commercial jet airliner, in service in 1952.",
    "The Boeing 707 entered service in 1958 and made jets pay.",
    "Bamboo is what pandas eat, most of the day.",
    "Concorde was a supersonic aircraft of which twenty were built.",
)
_BODY = json.dumps({"query": "Who built the first jet airliner?", "docs": _DOCS}).encode()


@dataclass(frozen=True, slots=True)
class Condition:
    """What copies are made of, if any."""

    name: str
    to: str | None
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Course:
    """How long is measured."""

    rounds: int
    """Of each condition."""
    seconds: float


@dataclass(slots=True)
class Times:
    """The times of the requests of each round, in seconds, by the version asked."""

    rounds: dict[str, list[list[float]]] = field(default_factory=dict)
    failures: int = 0

    def p(self, version: str, share: float) -> list[float]:
        """Return a quantile of each round, in milliseconds."""
        return [_quantile(times, share) * 1000 for times in self.rounds[version]]


@dataclass(frozen=True, slots=True)
class Found:
    """All rounds of one set of versions."""

    rate: float
    """Requests a second, to each version asked."""
    times: Mapping[str, Times]
    """By the name of the condition."""
    copies: str
    """What became of the copies, all rounds together."""


class Client:
    """Keep-alive connections, as many as there are requests at a time."""

    def __init__(self, port: int, version: str) -> None:
        self._port = port
        self._head = b"POST /rerank/%b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (
            version.encode(),
            len(_BODY),
        )
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, due: float) -> float | None:
        """Send one request; return how long after `due` its answer came, None for a failure."""
        reader, writer = (
            self._idle.pop()
            if self._idle
            else await asyncio.open_connection("127.0.0.1", self._port)
        )
        writer.write(self._head + _BODY)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
        await reader.readexactly(length)
        self._idle.append((reader, writer))
        return time.perf_counter() - due if head.split(None, 2)[1] == b"200" else None

    def close(self) -> None:
        """Hang up."""
        for _, writer in self._idle:
            writer.close()


def arrivals(seed: str, rate: float, seconds: float) -> list[float]:
    """Return when requests come, in seconds: at random, so that they meet copies now and then."""
    chance, found = random.Random(seed), [0.0]
    while found[-1] < seconds:
        found.append(found[-1] + chance.expovariate(rate))
    return found[1:-1]


async def offer(client: Client, when: Sequence[float]) -> list[float | None]:
    """Send requests at these times; return how long each took."""
    begin = time.perf_counter()
    tasks = []
    for after in when:
        delay = begin + after - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.append(asyncio.ensure_future(client.ask(begin + after)))
    return await asyncio.gather(*tasks)


async def load(port: int, when: Mapping[str, Sequence[float]]) -> dict[str, list[float | None]]:
    """Ask each version at its times, all at once."""
    clients = [Client(port, version) for version in when]
    found = await asyncio.gather(
        *(offer(client, times) for client, times in zip(clients, when.values(), strict=True))
    )
    for client in clients:
        client.close()
    return dict(zip(when, found, strict=True))


def measure(
    running: Server,
    asked: Sequence[str],
    conditions: Sequence[Condition],
    course: Course,
) -> Found:
    """Run the rounds, each condition in its turn; the order is reversed every other time."""
    first = asked[0]
    alone = asyncio.run(load(running.port, {first: arrivals("alone", 4.0, 3.0)}))[first]
    rate = BUSY / statistics.median(each for each in alone if each is not None)
    times = {condition.name: Times() for condition in conditions}
    for number in range(course.rounds):
        when = {version: arrivals(f"{number} {version}", rate, course.seconds) for version in asked}
        for condition in conditions if number % 2 == 0 else reversed(conditions):
            running.mirror(condition.to, condition.share)
            mine = times[condition.name]
            for version, found in asyncio.run(load(running.port, when)).items():
                answered = [each for each in found if each is not None]
                mine.rounds.setdefault(version, []).append(answered)
                mine.failures += len(found) - len(answered)
    return Found(rate, times, running.copies())


def fixed(course: Course) -> Found:
    """Measure with versions that take a fixed time and no CPU; one of them hangs."""
    quick = {"SERVICE_S": str(SERVICE_S)}
    hangs = {**quick, "HANGS": "1"}
    versions: dict[str, dict[str, object]] = {
        "v1": {"env": quick},
        "v2": {"env": quick},
        "v3": {"env": hangs, "max_batch_s": 3600},
    }
    conditions = (
        Condition("no mirror", None),
        Condition("mirror: v2", "v2"),
        Condition("mirror: v3, which hangs", "v3"),
    )
    first, *others = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(others) or {first})  # the server's children inherit it
    try:
        with server(versions, code=_CODE) as running:
            os.sched_setaffinity(0, {first})
            return measure(running, ("v1", "v2"), conditions, course)
    finally:
        os.sched_setaffinity(0, {first, *others})


def demo(models: Path, course: Course) -> Found:
    """Measure with the demo models: MiniLM is asked, the bi-encoder scores the copies."""
    versions = {name: {"threads": 1} for name in ("v2-minilm", "v1-bge-small")}
    conditions = (
        Condition("no mirror", None),
        Condition("mirror: v1-bge-small, share 0.1", "v1-bge-small", 0.1),
        Condition("mirror: v1-bge-small, share 1", "v1-bge-small"),
    )
    with server(versions, models) as running:
        return measure(running, ("v2-minilm",), conditions, course)


def report(found: Found) -> str:
    """Return a Markdown table, and how far the rounds lie apart by themselves."""
    lines = [
        f"{found.rate:.0f} requests a second to each version asked.",
        "",
        "| | asked | p50 ms | p95 ms | p99 ms | p95 of the rounds | failures |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, times in found.times.items():
        for version in times.rounds:
            p95 = times.p(version, 0.95)
            cells = [statistics.median(times.p(version, share)) for share in (0.5, 0.95, 0.99)]
            lines.append(
                f"| {name} | {version} | {cells[0]:.1f} | {cells[1]:.1f} | {cells[2]:.1f} "
                f"| {min(p95):.1f} to {max(p95):.1f} | {times.failures} |"
            )
    lines += ["", *_differences(found), f"Copies: {found.copies}."]
    return "\n".join(lines)


def _differences(found: Found) -> Iterator[str]:
    """Say how the p95 of each round differs from that of the round without a mirror."""
    (_, without), *others = found.times.items()
    for name, times in others:
        for version in times.rounds:
            pairs = zip(times.p(version, 0.95), without.p(version, 0.95), strict=True)
            more = sorted(ours - theirs for ours, theirs in pairs)
            yield (
                f"- {name}, {version}: p95 differs by {statistics.median(more):+.2f} ms "
                f"(median of {len(more)} pairs of rounds, {more[0]:+.2f} to {more[-1]:+.2f})"
            )
    yield ""


def _quantile(times: Sequence[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what a mirror costs.")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--models", type=Path, default=Path("models").resolve())
    arguments = parser.parse_args()
    course = Course(arguments.rounds, arguments.seconds)
    print(f"Fixed {SERVICE_S * 1000:.0f} ms a request. {report(fixed(course))}\n")
    print(f"Demo models, one thread each. {report(demo(arguments.models, course))}")


if __name__ == "__main__":
    main()
