"""A real server under test: supervisor, gateway and workers as real processes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

READY_S = 30.0

CODE = '''
"""A version made for tests: behaves as its environment variables and its documents say."""
import os, re, signal, subprocess, sys, time

MODE = os.environ.get("TEST_MODE", "")
SCORE = float(os.environ.get("TEST_SCORE", "0.5"))
SERVICE_S = float(os.environ.get("TEST_SERVICE_S", "0"))
FLAG = os.environ.get("TEST_FLAG", "")
count = 0

if MODE == "fail at import":
    raise ImportError("No module named 'frobnicate'")
if MODE == "fail without the flag" and not os.path.exists(FLAG):
    raise RuntimeError("the flag is not there")
if MODE == "crash at import":
    os.abort()
if MODE == "exit at import":
    os._exit(17)
if MODE == "hang at import":
    time.sleep(3600)
if MODE == "leak a grandchild":
    subprocess.Popen(["sleep", "3600"])
if MODE == "slow":
    time.sleep(float(os.environ["TEST_SECONDS"]))
if MODE == "shout":
    for number in range(20000):
        print("noise on stderr, line", number, file=sys.stderr)

def rerank(query, docs):
    global count
    count += 1
    time.sleep(SERVICE_S)
    if MODE == "crash on the twelfth request" and count == 12:
        os.kill(os.getpid(), signal.SIGSEGV)
    for doc in docs:
        if doc == "please crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if doc == "please hang":
            time.sleep(3600)
        if doc == "please hold the GIL":
            re.match("(a+)+$", "a" * 64 + "b")
        if doc == "please raise":
            raise RuntimeError("asked to raise")
        if doc == "please say NaN":
            return [float("nan")] * len(docs)
        if doc == "please say too little":
            return []
        if doc.startswith("please wait "):
            time.sleep(float(doc.removeprefix("please wait ")))
    return [max(0.0, SCORE - 0.001 * index) for index, _ in enumerate(docs)]
'''


class Server:
    """One server with its own config, models, run dir and state dir below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run_dir = root / "run"
        self.state_dir = root / "state"
        self.config_path = root / "config.yaml"
        self.models_dir = root / "models"
        self.config: dict[str, object] = {}
        self.wrapper: list[str] = []
        """Command that runs the server's own, such as systemd-socket-activate."""
        self.environment: dict[str, str] = {}
        """Variables it is started with, beside those of the test."""
        self.process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    # --- what it is given ---------------------------------------------------------------

    def configure(
        self,
        default: str,
        versions: Mapping[str, Mapping[str, object]],
        *,
        server: Mapping[str, object] | None = None,
        **rest: object,
    ) -> None:
        """Write config.yaml, and a version directory for each version that has none."""
        for name in versions:
            directory = self.models_dir / str(versions[name].get("source", name))
            if not directory.exists():
                directory.mkdir(parents=True)
                (directory / "rerank.py").write_text(CODE)
        self.config = {
            "default_version": default,
            "models_dir": str(self.models_dir),
            "versions": {name: dict(version) for name, version in versions.items()},
            "server": {"port": 0, **(server or {})},
            **rest,
        }
        temporary = self.config_path.with_suffix(".tmp")
        temporary.write_text(yaml.safe_dump(self.config, sort_keys=False))
        temporary.replace(self.config_path)

    # --- its life -----------------------------------------------------------------------

    def argv(self, *words: str) -> list[str]:
        """Return the command line of a verb on this server."""
        return [
            *(sys.executable, "-m", "rerank_server", *words),
            *("--run-dir", str(self.run_dir)),
        ]

    def cli(self, *words: str, timeout_s: float = READY_S) -> subprocess.CompletedProcess[str]:
        """Run a CLI verb on this server and return what came of it."""
        return subprocess.run(
            self.argv(*words), capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def spawn(self, *options: str) -> None:
        """Start it in the foreground form, without waiting for anything."""
        if self._client is not None:
            self._client.close()
            self._client = None
        log = (self.root / "supervisor.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [
                    *self.wrapper,
                    *self.argv("start", "--foreground"),
                    *("--config", str(self.config_path), "--state-dir", str(self.state_dir)),
                    *options,
                ],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self, *options: str) -> None:
        """Start it and wait until every enabled version has settled and the gateway serves."""
        self.spawn(*options)
        self.wait(_has_settled, "every version settled")

    def stop(self, timeout_s: float = READY_S) -> int:
        """TERM it and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """End it however it is; nothing of it stays."""
        if self._client is not None:
            self._client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    # --- what it shows ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return state.json as it is now; empty while there is none."""
        try:
            found = json.loads((self.run_dir / "state.json").read_text())
        except FileNotFoundError:
            return {}
        assert isinstance(found, dict)
        return found

    def wait(
        self,
        reached: Callable[[dict[str, Any]], object],
        what: str,
        timeout_s: float = READY_S,
    ) -> dict[str, Any]:
        """Wait until state.json says so, and return it."""
        assert self.process is not None
        state: dict[str, Any] = {}

        def has_reached() -> bool:
            nonlocal state
            state = self.state()
            return bool(state and state["server"]["pid"] == self.pid_inside and reached(state))

        self.until(has_reached, what, timeout_s)
        return state

    def until(self, reached: Callable[[], object], what: str, timeout_s: float = READY_S) -> None:
        """Wait until something is true, or fail with every log when it ends or time is up."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        pidfd = os.pidfd_open(self.process.pid)
        try:
            while not reached():
                left = deadline - time.monotonic()
                ended = bool(select.select([pidfd], [], [], min(max(left, 0), 0.02))[0])
                if ended or left <= 0:
                    word = "it ended" if ended else f"{timeout_s:g} s passed"
                    raise AssertionError(f"{word} before {what}; {self.logs()}\n{self.state()}")
        finally:
            os.close(pidfd)

    @property
    def pid_inside(self) -> int:
        """The supervisor's pid as it sees itself: 1 in a process id namespace of its own."""
        assert self.process is not None
        return 1 if "--pid" in self.wrapper else self.process.pid

    def wait_version(self, name: str, state: str, timeout_s: float = READY_S) -> dict[str, Any]:
        """Wait until a version is in that state, and return its entry."""
        found = self.wait(
            lambda s: (name, state) in {(v["name"], v["state"]) for v in s["versions"]},
            f"{name} is {state}",
            timeout_s,
        )
        return version_of(found, name)

    def version(self, name: str) -> dict[str, Any]:
        """Return a version's entry of state.json."""
        return version_of(self.state(), name)

    def pid_of(self, name: str) -> int:
        """Return the pid of the version's first process."""
        return int(self.version(name)["instances"][0]["pid"])

    def logs(self) -> str:
        """Return the end of every log, for a failing test's message."""
        logs = [self.root / "supervisor.log", *sorted(self.state_dir.glob("logs/*.log"))]
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}"
            for log in logs
            if log.exists()
        )

    def events(self) -> list[dict[str, object]]:
        """Return the event log."""
        lines = (self.state_dir / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    # --- what it serves -----------------------------------------------------------------

    @property
    def url(self) -> str:
        """Base address of the gateway."""
        return str(self.state()["server"]["url"])

    @property
    def client(self) -> httpx.Client:
        """Return a keep-alive client of this server."""
        if self._client is None:
            self._client = httpx.Client(base_url=self.url, timeout=20.0)
        return self._client

    def rerank(
        self, path: str = "/rerank", docs: list[str] | None = None, **headers: str
    ) -> httpx.Response:
        """Score documents; header names take underscores for dashes."""
        return self.client.post(
            path,
            json={"query": "q", "docs": ["one", "two"] if docs is None else docs},
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def hang_up(self) -> None:
        """Ring the supervisor's bell."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)


def version_of(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a version's entry of a state object."""
    versions = state["versions"]
    return next(dict(version) for version in versions if version["name"] == name)


def _has_settled(state: Mapping[str, Any]) -> bool:
    done = ("RUNNING", "FAILED", "BACKOFF", "DISABLED")
    settled = all(version["state"] in done for version in state["versions"])
    return settled and state["gateway"]["state"] == "RUNNING"
