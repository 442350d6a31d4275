"""How soon a model worker is ready after its spawn, and what it holds in memory.

The yardstick is `python -c "import torch, transformers"`, timed in turn with the spawns. Memory is
the resident set when ready, and after 60 requests of all lengths, as real traffic brings them.

    python -m benchmarks.workers [--pairs FILE] [--rounds 5]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks import debian_pairs, engine, fleet, machine
from benchmarks.debian_pairs import Ranking
from benchmarks.figures import Figure, remember, table
from benchmarks.fleet import Variant
from benchmarks.server import RESULTS, ROOT

_READY_S = 120.0
_SHIPPED = "ONNX Runtime int8, as shipped"
_BOUNDS: Mapping[str, float] = {"torch": 1.5, "int8": 0.3}
_MEMORY_MB = 250
_DOCS = 10  # a request, while memory is watched


@dataclass(slots=True)
class Worker:
    """One kind of worker, and what was seen of it."""

    variant: Variant
    ready_s: list[float] = field(default_factory=list)
    ready_bytes: list[int] = field(default_factory=list)
    used_bytes: list[int] = field(default_factory=list)
    """After the requests; only where they were sent."""

    @property
    def is_int8(self) -> bool:
        """Whether the bounds for int8 hold for it."""
        return "int8" in self.variant.label


def spawn(worker: Worker, directory: Path, scratch: Path, asked: Sequence[Ranking]) -> None:
    """Spawn a worker as the supervisor does, wait until it is ready, ask it, and end it."""
    ours, theirs = socket.socketpair()
    lifeline_read, lifeline = os.pipe()
    command = [sys.executable, "-I", "-m", "rerank_workers"]
    command += ["--control-fd", str(theirs.fileno()), "--lifeline-fd", str(lifeline_read)]
    command += ["--parent-pid", str(os.getpid())]
    began = time.perf_counter()
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, env={"PATH": os.defpath}, start_new_session=True,
            pass_fds=(theirs.fileno(), lifeline_read), stdout=log, stderr=log,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    theirs.close()
    os.close(lifeline_read)
    try:
        ours.sendall(json.dumps(_configure(worker.variant, directory, scratch)).encode() + b"\n")
        _wait_ready(ours, scratch / "log")
        worker.ready_s.append(time.perf_counter() - began)
        memory = psutil.Process(process.pid)
        worker.ready_bytes.append(memory.memory_info().rss)
        if asked:
            _ask(scratch / "w.sock", asked)
            worker.used_bytes.append(memory.memory_info().rss)
    finally:
        process.kill()
        process.wait()
        ours.close()
        os.close(lifeline)


def measure(
    workers: Sequence[Worker], source: Path, rounds: int, asked: Sequence[Ranking]
) -> list[float]:
    """Spawn every kind in turns with the yardstick; return the yardstick's seconds."""
    yardstick = []
    root = Path(tempfile.mkdtemp(prefix="rrs-bench-", dir="/tmp"))
    try:
        for worker in workers:
            fleet.lay(root / worker.variant.name, source, worker.variant)
        for number in range(rounds + 1):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import torch, transformers"], check=True)
            yardstick.append(time.perf_counter() - began)
            for worker in workers:
                last = number == rounds
                spawn(worker, root / worker.variant.name, root, asked if last else ())
    finally:
        shutil.rmtree(root)
    for worker in workers:
        del worker.ready_s[0], worker.ready_bytes[0]  # the files were cold, the choice untimed
    return yardstick[1:]


def report(workers: Sequence[Worker], yardstick: Sequence[float], asked: int) -> str:
    """Return the figures as a Markdown table."""
    base = statistics.median(yardstick)
    lines = [
        "| what | ready, s [min-max] | against the yardstick | RSS ready, MB "
        f"| after {asked} requests |",
        "|---|---|---|---|---|",
        f"| `import torch, transformers` (yardstick) | {base:.2f} [{min(yardstick):.2f}-"
        f"{max(yardstick):.2f}] | 1.00 | | |",
    ]
    for worker in workers:
        ready = worker.ready_s
        lines.append(
            f"| {worker.variant.label} | {statistics.median(ready):.2f} "
            f"[{min(ready):.2f}-{max(ready):.2f}] | {against(worker, yardstick):.2f} "
            f"| {statistics.median(worker.ready_bytes) / 1e6:.0f} "
            f"| {worker.used_bytes[-1] / 1e6:.0f} |"
        )
    found = figures(workers, yardstick)
    remember("workers", found, RESULTS)
    return "\n".join([*lines, "", table(found)])


def against(worker: Worker, yardstick: Sequence[float]) -> float:
    """Return the median over the rounds of a worker's seconds over the yardstick's."""
    return statistics.median(a / b for a, b in zip(worker.ready_s, yardstick, strict=True))


def figures(workers: Sequence[Worker], yardstick: Sequence[float]) -> list[Figure]:
    """Hold the workers to their bounds."""
    found = [
        Figure(
            f"ready, against `import torch, transformers`: {worker.variant.label}",
            against(worker, yardstick), _BOUNDS["int8" if worker.is_int8 else "torch"],
            at_most=True,
        )
        for worker in workers
    ]  # fmt: skip
    return found + [
        Figure(f"resident after requests: {worker.variant.label}",
               worker.used_bytes[-1] / 1e6, _MEMORY_MB, at_most=True, unit="MB")
        for worker in workers
        if worker.is_int8
    ]  # fmt: skip


def _configure(variant: Variant, directory: Path, scratch: Path) -> dict[str, object]:
    return {
        "type": "configure", "version": variant.name, "instance": f"{variant.name}.1",
        "directory": str(directory), "model": "model" if variant.graph is None else "model_cpu",
        "device": "cpu", "socket": str(scratch / "w.sock"), "batch_size": 16, "max_length": 512,
        "max_batch_tokens": 8192, "use_fp16": variant.use_fp16, "threads": None,
        "max_queued_pairs": 20_000, "clean": False,
        "engine_store": str(scratch / f"{variant.name}.json"),
    }  # fmt: skip


def _wait_ready(control: socket.socket, log: Path) -> None:
    control.settimeout(_READY_S)
    with control.makefile("rb") as lines:
        for line in lines:
            kind = json.loads(line)["type"]
            if kind == "ready":
                return
            if kind == "failed":
                break
    raise SystemExit(f"a worker did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _ask(path: Path, asked: Sequence[Ranking]) -> None:
    connection = http.client.HTTPConnection("worker")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    for ranking in asked:
        body = json.dumps({"query": ranking.query, "docs": ranking.docs[:_DOCS]})
        connection.request("POST", "/score", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"a worker answered {answer.status}")
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and weigh single workers.")
    parser.add_argument("--version", type=Path, default=ROOT / "models" / "v2-minilm")
    parser.add_argument("--pairs", type=Path, help="default: built from Debian's index")
    parser.add_argument("--rounds", type=int, default=5)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rrs-bench-") as directory:
        graphs = Path(directory)
        rankings = debian_pairs.read(debian_pairs.found(told.pairs))
        work = engine.Work(told.version, (), 1, ())
        engine.write_graphs(work, rankings[-10:], graphs)
        variants = [
            Variant("v1-fp32", "torch fp32", use_fp16=False),
            Variant("v1-bf16", "torch bf16"),
            Variant("v1-static", "OpenVINO int8 static", graphs / "int8 static"),
            Variant("v1-dynamic", "OpenVINO int8 dynamic", graphs / "int8 dynamic"),
        ]
        if (told.version / "model_cpu" / "model.onnx").exists():
            variants.append(Variant("v1-onnx", _SHIPPED, told.version / "model_cpu"))
        workers = [Worker(variant) for variant in variants]
        yardstick = measure(workers, told.version, told.rounds, rankings)
        print(machine.describe())
        print(f"\n### workers\n\n{report(workers, yardstick, len(rankings))}")


if __name__ == "__main__":
    main()
