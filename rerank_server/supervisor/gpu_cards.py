"""The cards this server may see, as NVML shows them; one that fails leaves the others in use."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from rerank_server.core.devices import Gpu

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(__name__)

_MOST_MISSES = 5
"""Looks in a row that a card may answer with an error while others are well; then it is lost."""
_NO_NAME = "no answer"


def visible(listed: str | None, uuids: Sequence[str]) -> list[int | str]:
    """Return the cards that CUDA_VISIBLE_DEVICES lets this server see, in its order.

    A card is its place among `uuids`, a part of a card (MIG) its own UUID. As CUDA does, the
    list ends at the first entry that names nothing.
    """
    if listed is None:
        return list(range(len(uuids)))
    found: list[int | str] = []
    for entry in (word.strip() for word in listed.split(",")):
        if entry.startswith("MIG-"):
            found.append(entry)
            continue
        by_uuid = [n for n, uuid in enumerate(uuids) if entry and uuid.startswith(entry)]
        if entry.isdecimal() and int(entry) < len(uuids):
            found.append(int(entry))
        elif len(by_uuid) == 1:
            found.append(by_uuid[0])
        else:
            break
    return list(dict.fromkeys(found))


class Card:
    """One card, or one part of a card; one that could not be opened stays lost."""

    def __init__(self, pynvml: ModuleType, index: int, handle: object | None) -> None:
        self.index = index
        self._handle = handle
        self._misses = 0
        self.uuid, self.name = f"unknown-{index}", _NO_NAME
        if handle is not None:
            self.uuid = str(pynvml.nvmlDeviceGetUUID(handle))
            with contextlib.suppress(pynvml.NVMLError):
                self.name = str(pynvml.nvmlDeviceGetName(handle))
        self.last = Gpu(index, self.uuid, self.name, 0, 0, is_lost=True)

    def look(self, pynvml: ModuleType) -> None:
        """Take in what the driver says of it now; raises what it says instead, unless: lost."""
        if self._handle is None:
            return
        try:
            memory = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_GPU_IS_LOST:
                raise
            self._lose(error)
            return
        self._misses = 0
        self.last = Gpu(
            index=self.index,
            uuid=self.uuid,
            name=self.name,
            total_bytes=int(memory.total),
            free_bytes=int(memory.free),
            used=self._processes(pynvml),
        )

    def miss(self, error: Exception) -> None:
        """Count a look that failed while others did not; the last figures stay for a while."""
        self._misses += 1
        if self._misses >= _MOST_MISSES:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        if not self.last.is_lost:
            log.error("a GPU is lost", extra={"gpu": self.index, "driver": str(error)})
        self.last = Gpu(self.index, self.uuid, self.name, self.last.total_bytes, 0, is_lost=True)

    def _processes(self, pynvml: ModuleType) -> Mapping[int, int]:
        """Return bytes by pid; empty in a container, whose pids the driver does not know."""
        used: dict[int, int] = {}
        with contextlib.suppress(pynvml.NVMLError):
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle):
                if process.usedGpuMemory is not None:
                    used[int(process.pid)] = int(process.usedGpuMemory)
        return MappingProxyType(used)


def found(pynvml: ModuleType, listed: str | None) -> list[Card]:
    """Return the cards that CUDA_VISIBLE_DEVICES, whose text is `listed`, lets this server see.

    A card that cannot be opened keeps its number, lost; one that is not for us has none. Raises
    what the driver says where no card can be opened.
    """
    handles: list[object | None] = []
    uuids: list[str] = []
    faults: list[Exception] = []
    for n in range(pynvml.nvmlDeviceGetCount()):
        handle, uuid = None, ""
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(n)
            uuid = str(pynvml.nvmlDeviceGetUUID(handle))
        except pynvml.NVMLError as error:
            faults.append(error)
            if error.value == pynvml.NVML_ERROR_NO_PERMISSION:
                continue
        handles.append(handle if uuid else None)
        uuids.append(uuid)
    if faults and not any(uuids):
        raise faults[0]
    chosen = [
        handles[entry] if isinstance(entry, int) else pynvml.nvmlDeviceGetHandleByUUID(entry)
        for entry in visible(listed, uuids)
    ]
    return [Card(pynvml, index, handle) for index, handle in enumerate(chosen)]


def look(pynvml: ModuleType, cards: Sequence[Card]) -> tuple[Gpu, ...]:
    """Return what the driver says of each card; raises what it says where it tells of none."""
    faults: dict[Card, Exception] = {}
    for card in cards:
        try:
            card.look(pynvml)
        except pynvml.NVMLError as fault:
            faults[card] = fault
    if faults and all(card in faults or card.last.is_lost for card in cards):
        raise next(iter(faults.values()))
    for card, said in faults.items():
        card.miss(said)
    return tuple(card.last for card in cards)
