"""The cards as last seen, and where each version's processes are placed on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from rerank_server.core.wanted import Degraded, WantedVersion, WorkerSpec

Hand = Literal["cpu", "gpu", "auto"]
"""Where a person moved a version; "auto": nowhere, the rules decide."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card."""

    index: int
    """As the config counts: the place among the cards this server may see."""
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    is_lost: bool = False
    used: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    """Bytes by pid, where the driver tells; in containers it does not."""

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"gpu {self.index}"


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at the cards."""

    at: float
    """Monotonic seconds: when the driver answered; while it never has, since when it is asked."""
    gpus: tuple[Gpu, ...] | None
    """None: the driver has not answered yet."""
    trouble: str | None = None
    """What the driver said instead of an answer."""
    host_free_bytes: int | None = None
    """Main memory that a new process could take; None: not known."""

    def gpu(self, uuid: str) -> Gpu | None:
        """Return the card of that UUID, if it is seen."""
        return next((g for g in self.gpus or () if g.uuid == uuid), None)


NO_GPUS = Sight(at=math.inf, gpus=())
"""What a host without an NVIDIA driver shows, for ever."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one replica of a version runs, or is to run."""

    gpu: str = ""
    """UUID of its card; empty: the CPU."""
    index: int = 0
    since: float = 0.0
    degraded: Degraded | None = None
    """Why it is on the CPU against its wish."""
    is_stand_in: bool = False
    """Whether it is on the CPU in place of a card: then the stand-in model runs."""
    origin: Seat | None = None
    """Where it runs until a process runs here; None once one does."""
    falls: int = 0
    """Moves away from cards, in a row: each makes the way back longer."""
    low_since: float | None = None
    """Since when its card has been short of memory."""
    ample_since: float | None = None
    """Since when some card has had room for it, and to spare."""
    retry_at: float = 0.0
    """No further move before: the last one failed."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the replicas of one version are, and what keeps those without a seat from one."""

    seats: tuple[Seat | None, ...] = ()
    problem: Degraded | None = None
    waits: str | None = None
    held: frozenset[int] = frozenset()
    """Replicas that must not be started just now."""
    is_crowded: bool = False
    """Whether a successor has no room beside its predecessor."""
    hand: Hand = "auto"
    moves: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Moves to the CPU by reason, ever."""

    def seat(self, replica: int) -> Seat | None:
        """Return where a replica is placed; None while it is not."""
        return self.seats[replica] if replica < len(self.seats) else None


@dataclass(frozen=True, slots=True)
class Release:
    """Memory that a process has left and the driver may not have returned yet."""

    gpu: str
    at: float
    not_before: float
    """A look at the card before this proves nothing."""
    expected_bytes: int
    """Free memory of the card once all has come back, as far as can be told."""


@dataclass(frozen=True, slots=True)
class Devices:
    """All that placement knows and has decided."""

    sight: Sight = NO_GPUS
    placements: Mapping[str, Placement] = field(default_factory=lambda: MappingProxyType({}))
    releases: tuple[Release, ...] = ()
    moved_at: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Last move from or to each card."""
    learnt: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Most memory that processes of a kind have taken, in bytes."""

    def placement(self, version: str) -> Placement:
        """Return a version's placement, an empty one when there is none yet."""
        return self.placements.get(version) or Placement()

    def with_placement(self, version: str, placement: Placement) -> Devices:
        """Return the devices with that placement in place of the version's own."""
        changed = MappingProxyType({**self.placements, version: placement})
        return replace(self, placements=changed)

    def with_seat(self, version: str, replica: int, seat: Seat | None) -> Devices:
        """Return the devices with one replica placed elsewhere."""
        placement = self.placement(version)
        seats = list(placement.seats)
        seats += [None] * (replica + 1 - len(seats))
        seats[replica] = seat
        return self.with_placement(version, replace(placement, seats=tuple(seats)))

    def seats(self) -> Iterator[tuple[str, int, Seat]]:
        """Yield every replica that has a seat, with it."""
        for name, placement in self.placements.items():
            for replica, seat in enumerate(placement.seats):
                if seat is not None:
                    yield name, replica, seat


def spec_at(version: WantedVersion, replica: int, seat: Seat) -> WorkerSpec:
    """Return the spec of a version's replica on a seat. The version must have a spec."""
    assert version.spec is not None, "only what can be started is placed"
    if seat.gpu:
        device = f"cuda:{seat.index}"
        return replace(version.spec, replica=replica, device=device, gpu=seat.gpu, model="model")
    if seat.is_stand_in:
        return replace(version.spec, replica=replica, model=version.wish.stand_in_model)
    return replace(version.spec, replica=replica)


# --- events -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GpusSeen:
    """The driver answered, or said why it cannot."""

    sight: Sight


@dataclass(frozen=True, slots=True)
class WasMoved:
    """A person moves a version, or leaves it to the rules again."""

    version: str
    hand: Hand
