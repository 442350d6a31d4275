"""A server with cards, told second by second."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rerank_server.core.absence import degraded
from rerank_server.core.devices import GpusSeen, Sight
from rerank_server.core.lifecycle import apply, forget, issue
from rerank_server.core.placed import place, placed
from rerank_server.core.reconcile import reconcile
from rerank_server.core.routing import FallbackReason
from rerank_server.core.types import (
    BecameReady,
    Drained,
    Event,
    Exited,
    Farewell,
    Fleet,
    SaidFarewell,
    State,
)
from rerank_server.core.wanted import MB, Wanted, WantedVersion
from tests.core.build import wanted
from tests.core.cards import GPU_POLICY, PATIENT, card, wishing

POLICY = replace(PATIENT, gpu=GPU_POLICY)


@dataclass
class Story:
    """A server with one or two cards, told second by second; its workers do as they are told."""

    wanted: Wanted
    free: list[int]
    """MB free on each card, as its driver says."""
    fleet: Fleet = field(default_factory=Fleet)
    now: float = 0.0
    host: int | None = None
    lost: set[int] = field(default_factory=set)
    stubborn: bool = False
    """Whether processes that were started do not become ready."""

    def sight(self) -> Sight:
        """Return one look at the cards as they are."""
        gpus = [
            card(n, free=free, total=16_000, is_lost=n in self.lost)
            for n, free in enumerate(self.free)
        ]
        host = None if self.host is None else self.host * MB
        return Sight(self.now, tuple(gpus), host_free_bytes=host)

    def step(self, *events: Event) -> None:
        """Take these events, then decide until nothing is new."""
        for event in events:
            self.fleet = apply(self.fleet, event, self.now, POLICY)
        while True:
            self.fleet = place(self.wanted, self.fleet, self.now, GPU_POLICY)
            asked = placed(self.wanted, self.fleet)
            self.fleet = forget(asked, self.fleet)
            actions = reconcile(asked, self.fleet, self.now, POLICY)
            for action in actions:
                self.fleet = issue(self.fleet, action, self.now)
            if not actions:
                return

    def answer(self) -> None:
        """Let each process do what it was told."""
        for i in self.fleet.instances():
            match i.state:
                case State.STARTING if not self.stubborn:
                    self.step(BecameReady(i.id, {}))
                case State.DRAINING:
                    self.step(Drained(i.id))
                case State.STOPPING:
                    self.step(Exited(i.id, 0, "done"))

    def live(self, seconds: float) -> None:
        """Let time pass, with a look at the cards each second."""
        for _ in range(int(seconds)):
            self.now += 1.0
            self.step(GpusSeen(self.sight()))
            self.answer()

    def end(self, version: str, code: int, *, cause: FallbackReason | None = None) -> None:
        """End the version's last process by itself."""
        last = self.fleet.slot(version).instances[-1]
        if cause is not None:
            self.step(SaidFarewell(last.id, Farewell("CUDA error: illegal access", False, cause)))
        self.step(Exited(last.id, code, "ended"))

    def where(self, version: str) -> list[str]:
        """Return the device of each process that runs."""
        instances = self.fleet.slot(version).instances
        return [i.spec.device for i in instances if i.state is State.RUNNING]

    def why(self, version: str) -> str | None:
        """Return why the version is degraded, if it is."""
        asked = placed(self.wanted, self.fleet).versions[version]
        found = degraded(asked, self.fleet.slot(version))
        return found.text if found is not None else None


def falling(name: str = "v1", threshold: int = 1500, **more: str) -> WantedVersion:
    """Return a version that wants a card and may leave it."""
    return wishing(name, need=1000, threshold=threshold, fallback=True, **more)  # type: ignore[arg-type]  # strings


def story(*versions: WantedVersion, free: int = 8000, cards: int = 1) -> Story:
    """Return a server whose versions have all come up, with so many MB free on each card."""
    told = Story(wanted(*versions), [free] * cards)
    told.step(GpusSeen(told.sight()))
    told.live(5 * len(versions))
    return told
