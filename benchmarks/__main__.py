"""Runs benchmarks, one after the other, and prints what docs/performance.md quotes.

python -m benchmarks                 # all; about an hour on two cores
python -m benchmarks server small    # these parts alone
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import debian_pairs, fleet, gateway, machine, overload, startup

BENCH = Path(__file__).parent.parent / ".bench"


def environment(name: str, wanted: tuple[str, ...]) -> Path:
    """Make an environment of its own for a peer, once; return its interpreter."""
    python = BENCH / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(BENCH / name)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *wanted]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"{name} could not be installed; run by hand: {' '.join(command)}")
    return python


def _startup() -> None:
    print(startup.report(startup.measure()))


def _gateway() -> None:
    print(gateway.report(gateway.measure()))


def _overload() -> None:
    print(overload.report(overload.measure()))


def _module(name: str, *words: str) -> None:
    """Run a benchmark that is a command of its own."""
    pairs = debian_pairs.found(Path(given) if (given := os.environ.get("PAIRS")) else None)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--pairs", str(pairs), *words]
    subprocess.run(command, check=True)


def _server() -> None:
    python = environment("infinity", fleet.INFINITY_PINS)
    _module("server", "--part", "server", "--infinity-python", str(python))


def _engines() -> None:
    python = environment("sentence-transformers", ("sentence-transformers==6.2.0", "torch==2.13.0"))
    _module("engine", "--queries", "6", "--reference-python", str(python))


def _quality() -> None:
    only = ("torch bf16", "OpenVINO", "ONNX")
    _module("engine", "--queries", "50", "--rounds", "1", "--only", *only)


def _mirror() -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.mirror"], check=True)


PARTS: Mapping[str, Callable[[], None]] = {
    "startup": _startup,
    "gateway": _gateway,
    "overload": _overload,
    "server": _server,
    "small": lambda: _module("server", "--part", "small"),
    "workers": lambda: _module("workers"),
    "engines": _engines,
    "quality": _quality,
    "large": lambda: _module("large"),
    "llm": lambda: _module("llm"),
    "cascade": lambda: _module("cascade"),
    "mirror": _mirror,
}


def main() -> None:
    """Print the machine, then the tables of each part."""
    parser = argparse.ArgumentParser(
        description="Measure. The variable PAIRS names a file of labelled pairs to use."
    )
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], default=[])
    told = parser.parse_args()
    print(machine.describe())
    for part in told.part or PARTS:
        print(f"\n## {part}\n", flush=True)
        PARTS[part]()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
