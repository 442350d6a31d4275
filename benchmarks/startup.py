"""How long a server takes until its versions serve, and what it holds when idle.

The yardstick is `python -c "import torch, transformers"`, timed in turn with the server: A B A B.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).parent.parent
ROUNDS = 5
DEMO = ("v1-bge-small", "v1-colbert", "v2-minilm")


@dataclass(frozen=True, slots=True)
class Startup:
    """Medians in seconds, and idle memory in bytes."""

    yardstick_s: float
    one_s: float
    all_s: float
    control_pss: int
    """Supervisor, janitor and one gateway process, proportional set size."""


def measure() -> Startup:
    """Time cold spawns of everything, in turn, and weigh the idle control plane."""
    yardstick, one, everything, pss = [], [], [], []
    for _ in range(ROUNDS):
        yardstick.append(_yardstick())
        seconds, _ = _serve(("v2-minilm",))
        one.append(seconds)
        seconds, weight = _serve(DEMO)
        everything.append(seconds)
        pss.append(weight)
    return Startup(
        statistics.median(yardstick),
        statistics.median(one),
        statistics.median(everything),
        int(statistics.median(pss)),
    )


def report(found: Startup) -> str:
    """Return the figures as a Markdown table."""
    return "\n".join(
        [
            "| what | seconds | against the yardstick | bound |",
            "|---|---|---|---|",
            f"| `import torch, transformers` (yardstick) | {found.yardstick_s:.2f} | 1.00 | |",
            f"| server start until one torch version serves | {found.one_s:.2f} | "
            f"{found.one_s / found.yardstick_s:.2f} | 1.5 |",
            f"| server start until all three demo versions serve | {found.all_s:.2f} | "
            f"{found.all_s / found.yardstick_s:.2f} | 4 |",
            "",
            f"Supervisor, janitor and one gateway process, idle: {found.control_pss / 1e6:.0f} MB "
            "proportional set size (bound: 120 MB).",
        ]
    )


def _yardstick() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, transformers"], check=True)
    return time.perf_counter() - began


def _serve(versions: tuple[str, ...]) -> tuple[float, int]:
    """Start a server with these versions; return seconds to the last RUNNING, and PSS idle."""
    root = Path(tempfile.mkdtemp(prefix="rrs-bench-", dir="/tmp"))
    config = {
        "default_version": versions[-1],
        "models_dir": str(ROOT / "models"),
        "versions": {name: {} for name in versions},
        "server": {"port": 0},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "rerank_server", "start", "--foreground"]
    command += ["--config", str(root / "config.yaml")]
    command += ["--run-dir", str(root / "run"), "--state-dir", str(root / "state")]
    began = time.perf_counter()
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_running(root / "run" / "state.json", process)
        seconds = time.perf_counter() - began
        time.sleep(3)  # the idle state is what is weighed, not the end of the start
        return seconds, _control_plane_pss(process.pid)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root)


def _wait_until_running(state: Path, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            found = json.loads(state.read_text())
        except FileNotFoundError:
            found = {"versions": [{"state": "absent"}]}
        states = {version["state"] for version in found["versions"]}
        if states == {"RUNNING"}:
            return
        if states & {"FAILED", "BACKOFF"}:
            break
        time.sleep(0.01)
    raise SystemExit("the server did not start; are the demo versions there? run: make models")


def _control_plane_pss(supervisor: int) -> int:
    """Sum the PSS of the supervisor's family, its model workers apart."""
    family = [psutil.Process(supervisor), *psutil.Process(supervisor).children(recursive=True)]
    return sum(p.memory_full_info().pss for p in family if "rerank_workers" not in p.cmdline())


if __name__ == "__main__":
    print(report(measure()))
