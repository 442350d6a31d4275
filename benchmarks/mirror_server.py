"""A server whose mirror is switched while it runs, for benchmarks."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

_START_S = 120.0


class Server:
    """One running server, whose mirror is switched by reloads."""

    def __init__(self, root: Path, config: Mapping[str, object]) -> None:
        self._root = root
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start it; every version runs when this returns."""
        self._write(None)
        command = [*self._command("start"), "--foreground", "--config", str(self._file)]
        command += ["--state-dir", str(self._root / "state")]
        with (self._root / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        file = self._root / "run" / "state.json"
        while self._process.poll() is None and time.monotonic() < deadline:
            state = json.loads(file.read_text()) if file.exists() else {}
            states = {version["state"] for version in state.get("versions", ())}
            if states == {"RUNNING"} and state["gateway"]["state"] == "RUNNING":
                self.port = int(state["server"]["port"])
                return
            time.sleep(0.05)
        raise SystemExit(f"the server did not start:\n{(self._root / 'log').read_text()[-3000:]}")

    def mirror(self, to: str | None, share: float) -> None:
        """Have a version score copies of that share of the requests; None: no copies."""
        self._write(to, share)
        subprocess.run(self._command("reload"), check=True, capture_output=True)

    def copies(self) -> str:
        """Return what became of the copies so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as page:
            lines = page.read().decode().splitlines()
        found = [line for line in lines if line.startswith("reranker_mirror_requests_total")]
        return ", ".join(line.partition("_total")[2] for line in found if not line.endswith(" 0.0"))

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()

    @property
    def _file(self) -> Path:
        return self._root / "config.yaml"

    def _command(self, verb: str) -> list[str]:
        words = [sys.executable, "-m", "rerank_server", verb]
        return [*words, "--run-dir", str(self._root / "run")]

    def _write(self, to: str | None, share: float = 1.0) -> None:
        mirror = None if to is None else {"to": to, "share": share}
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(yaml.safe_dump({**self._config, "mirror": mirror}))
        temporary.replace(self._file)


@contextmanager
def server(
    versions: Mapping[str, Mapping[str, object]], models: Path | None = None, code: str = ""
) -> Iterator[Server]:
    """Run a server; without `models`, each version's rerank.py is `code`."""
    root = Path(tempfile.mkdtemp(prefix="rrs-bench-", dir="/tmp"))
    if models is None:
        for name in versions:
            (root / name).mkdir()
            (root / name / "rerank.py").write_text(code)
    config = {
        "default_version": next(iter(versions)),
        "models_dir": str(models or root),
        "versions": versions,
        "server": {"port": 0, "access_log": False},
    }
    running = Server(root, config)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(root)
