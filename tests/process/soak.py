"""A random killer under steady load: `python -m tests.process.soak --seconds 300`.

Kills workers and gateway processes, stops workers, rings the bell with random configs, good and
bad. Ends with a report; exit code 1 if any request failed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks import machine
from tests.process.load import Load, Record
from tests.process.server import Server, version_of

VERSIONS = ("v1", "v2", "v3")
SERVICE_S = 0.004
PAUSE_S = 0.1
"""Six clients with this pause ask for less than half of what one worker can do."""


@dataclass
class Soak:
    """One run: the server, the dice, and what was done to it."""

    server: Server
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    recoveries_s: list[float] = field(default_factory=list)
    batch_size: int = 16

    def configure(self, *, enabled: tuple[str, ...] = VERSIONS) -> None:
        """Write a valid config."""
        self.server.configure(
            "v1",
            {
                name: {
                    "env": {"TEST_SCORE": f"0.{name[1]}", "TEST_SERVICE_S": str(SERVICE_S)},
                    "enabled": name in enabled,
                    **({"batch_size": self.batch_size} if name == "v3" else {}),
                    # Two others behind each: one may be switched off while the other is killed.
                    **({"fallback": "v3"} if name != "v3" else {}),
                }
                for name in VERSIONS
            },
            server={"gateway_processes": 2},
        )

    def kill_worker(self) -> None:
        """KILL a random worker and time how long its version is away."""
        self._strike(signal.SIGKILL)

    def freeze_worker(self) -> None:
        """STOP a random worker: it hangs until it is found out."""
        self._strike(signal.SIGSTOP)

    def kill_gateway_process(self) -> None:
        """KILL one of the gateway's processes; its arbiter makes another."""
        arbiter = psutil.Process(self.server.state()["gateway"]["pid"])
        children = arbiter.children()
        if children:
            self.dice.choice(children).kill()

    def reload_valid(self) -> None:
        """Replace v3 by a config change, or switch v2 off and on again."""
        self.batch_size = self.dice.randrange(8, 64)
        self.configure(enabled=("v1", "v3") if self.dice.random() < 0.3 else VERSIONS)
        self.server.hang_up()

    def reload_invalid(self) -> None:
        """Ring the bell with a config that must be refused."""
        text = self.server.config_path.read_text()
        self.server.config_path.write_text(text + "\nnonsense: true\n")
        self.server.hang_up()
        self.server.wait(lambda s: s["config_error"] is not None, "the bad config is refused")
        self.configure()
        self.server.hang_up()

    def _strike(self, number: signal.Signals) -> None:
        name = self.dice.choice(VERSIONS)
        entry = self.server.version(name)
        running = [i for i in entry["instances"] if i["state"] == "RUNNING"]
        if not running:
            return
        pid, began = running[0]["pid"], time.monotonic()
        os.kill(pid, number)

        def is_back(state: dict[str, object]) -> bool:
            version = version_of(state, name)
            alive = [i for i in version["instances"] if i["pid"] != pid]
            is_given_up = version["state"] == "FAILED"
            runs = any(i["state"] == "RUNNING" for i in alive)
            return runs or is_given_up or not version["enabled"]

        self.server.wait(is_back, f"{name} is back", timeout_s=60)
        if self.server.version(name)["state"] == "FAILED":  # five failures within ten minutes
            self.server.cli("reset", name)
            self.done["reset"] += 1
        else:
            self.recoveries_s.append(time.monotonic() - began)


def run(seconds: float, seed: int) -> tuple[Soak, list[Record]]:
    """Torment a server for so long; return what was done and the clients' record."""
    with tempfile.TemporaryDirectory(prefix="rrs-", dir="/tmp") as root:
        soak = Soak(Server(Path(root)), random.Random(seed))
        soak.configure()
        soak.server.start()
        try:
            with Load(soak.server.url, VERSIONS, pause_s=PAUSE_S, retry_cut=True) as load:
                torment(soak, seconds)
                load.wait_for(20)
        finally:
            soak.server.close()
        return soak, load.records


def torment(soak: Soak, seconds: float) -> None:
    """Do one random bad thing after the other until the time is up."""
    deeds: list[Callable[[], None]] = [
        soak.kill_worker,
        soak.kill_worker,
        soak.freeze_worker,
        soak.kill_gateway_process,
        soak.reload_valid,
        soak.reload_invalid,
    ]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        deed = soak.dice.choice(deeds)
        deed()
        soak.done[deed.__name__] += 1
        time.sleep(soak.dice.uniform(0.2, 2.0))


def report(soak: Soak, records: list[Record], seconds: float, seed: int) -> str:
    """Return the run as Markdown."""
    failed = [r for r in records if r.status != 200]
    by_asked = sum(r.status == 200 and r.served == r.asked for r in records)
    by_fallback = sum(r.status == 200 and r.served != r.asked for r in records)
    wrong = sum(r.status == 200 and r.served != r.asked and not r.fallback for r in records)
    recoveries = soak.recoveries_s or [0.0]
    deeds = ", ".join(f"{count} {name}" for name, count in sorted(soak.done.items()))
    return "\n".join(
        [
            f"{machine.describe()}; {seconds:g} s, seed {seed}",
            "",
            f"Done to it: {deeds}.",
            "",
            "| requests | count |",
            "|---|---|",
            f"| sent | {len(records)} |",
            f"| answered by the version asked | {by_asked} |",
            f"| answered by a fallback, and marked so | {by_fallback - wrong} |",
            f"| answered by another version, unmarked (must be 0) | {wrong} |",
            f"| cut by the KILL of a gateway process, sent again by the client "
            f"| {sum(r.was_cut for r in records)} |",
            f"| failed (must be 0) | {len(failed)} |",
            "",
            f"Recovery of a killed or frozen worker: median {statistics.median(recoveries):.1f} s, "
            f"worst {max(recoveries):.1f} s ({len(soak.recoveries_s)} times; a freeze is found "
            "after 5 s).",
            *(f"- {r}" for r in failed[:10]),
        ]
    )


def main() -> int:
    """Run and print; 1 if anything failed or was answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    soak, records = run(options.seconds, options.seed)
    print(report(soak, records, options.seconds, options.seed))
    unmarked = any(r.status == 200 and r.served != r.asked and not r.fallback for r in records)
    return int(unmarked or any(r.status != 200 for r in records))


if __name__ == "__main__":
    raise SystemExit(main())
