"""A server whose cards are files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.gpu_fake.cards import PRETENDER, FakeCards
from tests.process.server import Server, version_of

QUICK = {
    "gpu_pressure_after_s": 1,
    "gpu_recover_after_s": 3,
    "gpu_recover_margin_mb": 200,
    "gpu_cool_down_s": 1,
}


class CardServer(Server):
    """One server on fake cards; moves come within seconds."""

    def __init__(self, root: Path, cards: FakeCards, driver: Path) -> None:
        super().__init__(root)
        self.cards = cards
        self.environment = {"LD_LIBRARY_PATH": str(driver), "FAKE_NVML_DIR": str(cards.folder)}

    def serve(
        self,
        versions: Mapping[str, Mapping[str, object]],
        *,
        server: Mapping[str, object] | None = None,
    ) -> None:
        """Configure pretending versions (`pretending` makes them) and start."""
        self.rewrite(versions, server=server)
        self.start()

    def rewrite(
        self,
        versions: Mapping[str, Mapping[str, object]],
        *,
        server: Mapping[str, object] | None = None,
    ) -> None:
        """Write the config of pretending versions; the first is the default."""
        for name in versions:
            directory = self.models_dir / name
            directory.mkdir(parents=True, exist_ok=True)
            if not (directory / "rerank.py").exists():
                (directory / "rerank.py").write_text(PRETENDER)
        self.configure(next(iter(versions)), versions, server={**QUICK, **(server or {})})

    def pretending(
        self,
        *,
        need: int = 2000,
        load_s: float = 0.0,
        fallback: bool = True,
        threshold: int = 1500,
        fallback_version: str | None = None,
        **more: object,
    ) -> dict[str, object]:
        """Return the config of a version that takes so much of a card; sizes in MB."""
        env = {
            "TEST_CARDS": str(self.cards.folder),
            "TEST_NEED_MB": str(need),
            "TEST_LOAD_S": str(load_s),
        }
        return {
            "gpu_memory_mb": need,
            "fallback_to_cpu": fallback,
            "gpu_memory_threshold_mb": threshold if fallback else 0,
            "env": env,
            "fallback": fallback_version,
            **more,
        }

    def wait_on(self, name: str, device: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until a version runs on that device and nothing of it is under way."""

        def is_there(state: dict[str, Any]) -> bool:
            version = version_of(state, name)
            devices = [i["device"] for i in version["instances"]]
            states = {i["state"] for i in version["instances"]}
            return bool(devices) and set(devices) == {device} and states == {"RUNNING"}

        found = self.wait(is_there, f"{name} runs on {device}", timeout_s)
        return version_of(found, name)

    def status_line(self, name: str) -> str:
        """Return what `status` says of a version."""
        lines = self.cli("status").stdout.splitlines()
        return next(line for line in lines if line.startswith(f"{name}:"))

    def moves(self) -> list[tuple[str, str, str]]:
        """Return the moves so far: version, from, to."""
        moved = [e for e in self.events() if e.get("event") == "moved"]
        return [(str(e["version"]), str(e["from"]), str(e["to"])) for e in moved]
