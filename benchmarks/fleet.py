"""The servers under measurement: one of ours with every variant, and Infinity beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

_START_S = 180.0
_INFINITY_VERSION = "infinity-emb[server,torch]==0.0.78"
INFINITY_PINS = (
    _INFINITY_VERSION,
    "torch==2.13.0",
    "transformers<4.49",  # optimum's BetterTransformer, which Infinity imports, refuses newer ones
    "optimum<2",
    "click<8.2",  # typer 0.12, which Infinity pins
)
"""What an environment for Infinity is made of, for pip."""

_ONE_REQUEST_A_BATCH = """

class Alone:
    mixes_requests = False

    def __init__(self, scorer):
        self.info = scorer.info
        self.encode, self.score, self.to_unit = scorer.encode, scorer.score, scorer.to_unit


_together = load


def load(context):
    return Alone(_together(context))
"""
"""Ends a version's rerank.py whose batches hold one request each."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One version of the server under measurement."""

    name: str
    """As the config names it."""
    label: str
    graph: Path | None = None
    """Folder that is its model_cpu/; None runs model/ with torch."""
    use_fp16: bool = True
    alone: bool = False
    """Whether one request is one batch."""

    @property
    def path(self) -> str:
        """Return where it answers."""
        return f"/rerank/{self.name}"


@dataclass(frozen=True, slots=True)
class Ours:
    """A running server of ours."""

    port: int
    engines: Mapping[str, str]
    """What each version says it runs with, by name."""


@contextmanager
def ours(source: Path, variants: Sequence[Variant]) -> Iterator[Ours]:
    """Run a server with these variants of a version; all defaults but what they say."""
    root = Path(tempfile.mkdtemp(prefix="rrs-bench-", dir="/tmp"))
    for variant in variants:
        lay(root / "models" / variant.name, source, variant)
    versions = {
        variant.name: {
            "cpu_model": "model" if variant.graph is None else "model_cpu",
            "use_fp16": variant.use_fp16,
        }
        for variant in variants
    }
    config = {
        "default_version": variants[0].name,
        "models_dir": str(root / "models"),
        "versions": versions,
        "server": {"port": 0, "request_timeout_s": 300, "drain_timeout_s": 300},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "rerank_server", "start", "--foreground"]
    command += ["--config", str(root / "config.yaml")]
    command += ["--run-dir", str(root / "run"), "--state-dir", str(root / "state")]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield _wait(root / "run" / "state.json", process, root / "log")
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root)


@contextmanager
def infinity(python: Path, source: Path) -> Iterator[int]:
    """Run Infinity in fp32 with torch on the same weights; gives its port."""
    root = Path(tempfile.mkdtemp(prefix="rrs-bench-", dir="/tmp"))
    model = root / "model"
    model.mkdir()
    for file in [*(source / "model").iterdir(), *(source / "tokenizer").iterdir()]:
        (model / file.name).symlink_to(file.resolve())
    port = _free_port()
    # https://github.com/michaelfeil/infinity: "v2" is its one command
    command = [str(python.parent / "infinity_emb"), "v2", "--model-id", str(model)]
    command += ["--engine", "torch", "--dtype", "float32", "--no-bettertransformer"]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    }
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        _wait_for_health(port, process, root / "log")
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root)


def lay(place: Path, source: Path, variant: Variant) -> None:
    """Make a version's directory, the weights of its source linked."""
    place.mkdir(parents=True)
    code = (source / "rerank.py").read_text()
    (place / "rerank.py").write_text(code + _ONE_REQUEST_A_BATCH * variant.alone)
    for name in ("model", "tokenizer"):
        (place / name).symlink_to((source / name).resolve())
    if variant.graph is not None:
        (place / "model_cpu").mkdir()
        for file in variant.graph.iterdir():
            (place / "model_cpu" / file.name).symlink_to(file.resolve())
        config = place / "model_cpu" / "config.json"
        if not config.exists():
            config.symlink_to((source / "model" / "config.json").resolve())


def _wait(state: Path, process: subprocess.Popen[bytes], log: Path) -> Ours:
    """Wait until everything runs."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        found = json.loads(state.read_text()) if state.exists() else {}
        states = {version["state"] for version in found.get("versions", ())}
        if states == {"RUNNING"} and found["gateway"]["state"] == "RUNNING":
            engines = {v["name"]: f"{v['info']['engine']}, {v['info']['dtype']}"
                       for v in found["versions"]}  # fmt: skip
            return Ours(int(found["server"]["port"]), engines)
        if states & {"FAILED", "BACKOFF"}:
            break
        time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _wait_for_health(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"Infinity did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
