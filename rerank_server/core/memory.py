"""How much memory there is and how much is needed: on each card, and on the host."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType

from rerank_server.core.devices import Devices, Gpu, Release, Seat, spec_at
from rerank_server.core.types import Fleet, Instance, State
from rerank_server.core.wanted import MB, GpuPolicy, Wanted, WantedVersion, WorkerSpec

CONTEXT_BYTES = 500 * MB
"""What CUDA takes for one process beside torch's own figure; 300 to 600 MB by card and driver."""
ACTIVATION_BYTES = 300 * MB
HOST_BYTES = 400 * MB
"""Python, torch and their libraries in one process, without weights."""
_ALIVE = (State.STARTING, State.RUNNING)


# --- needs --------------------------------------------------------------------------------------


def memory_key(spec: WorkerSpec) -> str:
    """Return what learnt memory is kept under: files, model and the size of batches."""
    sizes = (spec.batch_size, spec.max_length, spec.max_batch_tokens, spec.use_fp16)
    text = f"{spec.fingerprint}/{spec.model}/{bool(spec.gpu)}/{sizes}"
    return hashlib.blake2s(text.encode(), digest_size=12).hexdigest()


def card_need(version: WantedVersion, devices: Devices) -> int:
    """Return what one process takes of a card: as declared, else as learnt, else a guess."""
    wish = version.wish
    if wish.memory_bytes is not None:
        return wish.memory_bytes
    learnt = devices.learnt.get(memory_key(spec_at(version, 0, Seat(gpu="any"))))
    if learnt is not None:
        return learnt
    return wish.weights_bytes + wish.weights_bytes // 5 + CONTEXT_BYTES + ACTIVATION_BYTES


def host_need(version: WantedVersion, devices: Devices) -> int:
    """Return what one process takes of main memory on the CPU: as learnt, else a guess."""
    learnt = devices.learnt.get(memory_key(spec_at(version, 0, Seat(is_stand_in=True))))
    return learnt if learnt is not None else 2 * version.wish.stand_in_bytes + HOST_BYTES


def has_host_room(version: WantedVersion, devices: Devices) -> bool:
    """Tell whether the host has memory for one more process of this version on the CPU."""
    free = devices.sight.host_free_bytes
    return free is None or free >= host_need(version, devices)


def learn(devices: Devices, spec: WorkerSpec, used_bytes: int) -> Devices:
    """Return the devices with the most that processes of this kind have taken."""
    key = memory_key(spec)
    if used_bytes <= devices.learnt.get(key, 0):
        return devices
    return replace(devices, learnt=MappingProxyType({**devices.learnt, key: used_bytes}))


# --- cards --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scene:
    """What is wanted and what there is at one moment, for decisions about devices."""

    wanted: Wanted
    fleet: Fleet
    now: float
    policy: GpuPolicy

    @property
    def devices(self) -> Devices:
        """What placement knows and has decided so far."""
        return self.fleet.devices

    def with_devices(self, devices: Devices) -> Scene:
        """Return the scene after a decision."""
        return replace(self, fleet=replace(self.fleet, devices=devices))

    def seated(self, version: str, replica: int, seat: Seat | None) -> Scene:
        """Return the scene with one replica on another seat, or on none."""
        return self.with_devices(self.devices.with_seat(version, replica, seat))

    def versions(self) -> list[WantedVersion]:
        """Return the versions that can be placed, in config order."""
        found = self.wanted.versions.values()
        return [v for v in found if v.enabled and v.spec is not None]

    def seats(self) -> Iterator[tuple[WantedVersion, int, Seat]]:
        """Yield each placed replica of them, in config order."""
        for version in self.versions():
            for replica, seat in enumerate(self.devices.placement(version.name).seats):
                if seat is not None:
                    yield version, replica, seat

    def seats_on(self, gpu: Gpu) -> list[tuple[WantedVersion, int, Seat]]:
        """Return those placed on a card."""
        return [found for found in self.seats() if found[2].gpu == gpu.uuid]

    def instance(
        self, version: WantedVersion, replica: int, seat: Seat, *states: State
    ) -> Instance | None:
        """Return the process a replica has on a seat, in one of `states` (if none: alive)."""
        allowed = states or _ALIVE
        here = [
            i
            for i in self.fleet.slot(version.name).instances
            if i.state in allowed and i.spec.replica == replica and i.spec.gpu == seat.gpu
        ]
        spec = spec_at(version, replica, seat) if here else None
        return next((i for i in here if i.spec == spec), None)


def is_stale(scene: Scene) -> bool:
    """Tell whether the last look at the cards is too old to decide anything by."""
    return scene.now - scene.devices.sight.at > scene.policy.stale_s


def is_given_up(scene: Scene) -> bool:
    """Tell whether the driver has said nothing for so long that nobody waits for it any more."""
    return scene.now - scene.devices.sight.at > scene.policy.sight_timeout_s


def is_unsettled(scene: Scene, gpu: Gpu) -> bool:
    """Tell whether memory of this card is about to be taken or returned: measure again later."""
    if is_stale(scene) or any(r.gpu == gpu.uuid for r in scene.devices.releases):
        return True
    own = [i for i in scene.fleet.instances() if i.spec.gpu == gpu.uuid]
    return any(_is_changing(i, scene.devices) for i in own)


def _is_changing(instance: Instance, devices: Devices) -> bool:
    if instance.state is not State.RUNNING:
        return True
    return instance.ready_at is not None and instance.ready_at >= devices.sight.at


def room(scene: Scene, gpu: Gpu) -> int:
    """Return the memory of a card that is neither taken nor reserved.

    Reserved is what a replica placed there needs, until a look at the card shows that it has it.
    """
    reserved = 0
    for version, replica, seat in scene.seats_on(gpu):
        if not _has_loaded(scene, version, replica, seat):
            reserved += card_need(version, scene.devices)
    return gpu.free_bytes - reserved


def kept_free(scene: Scene, gpu: Gpu, version: WantedVersion) -> int:
    """Return the memory that has to stay free beside `version`: else some version would move."""
    beside = [version, *(other for other, _, _ in scene.seats_on(gpu))]
    return max((v.wish.threshold_bytes for v in beside if v.wish.fallback_to_cpu), default=0)


def _has_loaded(scene: Scene, version: WantedVersion, replica: int, seat: Seat) -> bool:
    """Tell whether the card's figures show what this replica takes, or it takes nothing."""
    instance = scene.instance(version, replica, seat)
    if instance is not None:
        return not _is_changing(instance, scene.devices)
    failure = scene.fleet.slot(version.name).failure
    has_given_up = failure is not None and failure.retry_at is None
    return has_given_up and failure is not None and failure.spec == spec_at(version, replica, seat)


# --- memory about to be returned ----------------------------------------------------------------

_UNKNOWN_RETURN_S = 1.5
"""Drivers return memory 0.5 to 1.5 s after the end of a process whose use was not known."""


def release_of(instance: Instance, devices: Devices, now: float) -> Release | None:
    """Return what a process that is gone leaves to be returned by its card's driver."""
    gpu = devices.sight.gpu(instance.spec.gpu)
    if gpu is None or gpu.is_lost:
        return None
    known = instance.gpu_memory_bytes
    not_before = now if known else now + _UNKNOWN_RETURN_S
    return Release(gpu.uuid, now, not_before, gpu.free_bytes + known * 9 // 10)


def settle_releases(devices: Devices, now: float, policy: GpuPolicy) -> Devices:
    """Return the devices without the releases that are over."""
    pending = tuple(r for r in devices.releases if not _is_over(r, devices, now, policy))
    return devices if pending == devices.releases else replace(devices, releases=pending)


def _is_over(release: Release, devices: Devices, now: float, policy: GpuPolicy) -> bool:
    gpu = devices.sight.gpu(release.gpu)
    if now - release.at >= policy.release_timeout_s or gpu is None or gpu.is_lost:
        return True
    has_returned = gpu.free_bytes >= release.expected_bytes
    return has_returned and devices.sight.at > release.not_before
