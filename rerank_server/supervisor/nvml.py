"""Looks at the cards through NVML, in a thread of its own: a driver that hangs blocks nothing.

NVML needs no CUDA context. On a host without the driver's library no thread is started and
pynvml is never imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_server.core.devices import NO_GPUS, Gpu, Sight
from rerank_server.supervisor.gpu_cards import Card, found, look
from rerank_server.supervisor.host_memory import free_bytes

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(__name__)

LIBRARY = "libnvidia-ml.so.1"
LOOK_EVERY_S = 1.0
SILENT_AFTER_S = 5.0
"""The driver answers within milliseconds; after this the log says, once, that it does not."""
_CACHE = Path("/etc/ld.so.cache")
_FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")

Seen = Callable[[Sight], None]


def has_driver(environ: Mapping[str, str], cache: Path = _CACHE) -> bool:
    """Tell whether the loader would find the driver's library, without loading anything."""
    folders = [*environ.get("LD_LIBRARY_PATH", "").split(":"), *_FOLDERS]
    if any(folder and Path(folder, LIBRARY).exists() for folder in folders):
        return True
    with contextlib.suppress(OSError):
        return LIBRARY.encode() in cache.read_bytes()
    return False


class GpuWatch:
    """Looks once a second, and hands each look to the loop. Of the loop's thread, save `_look`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seen: Seen) -> None:
        self._loop = loop
        self._seen = seen
        self._end = threading.Event()
        self._is_silent = False
        self._trouble: str | None = None
        self._told = ""

    def start(self) -> Sight:
        """Return what is known at once: that there are no cards, or that they are looked for."""
        if not has_driver(os.environ):
            log.debug("no NVIDIA driver here; everything runs on the CPU")
            return NO_GPUS
        # A daemon: a thread stuck in the driver must not keep the server from ending.
        threading.Thread(target=self._run, name="nvml", daemon=True).start()
        return _sight()

    def close(self) -> None:
        """Look no more."""
        self._end.set()

    def tend(self, sight: Sight, now: float) -> None:
        """Say, once, that the driver has fallen silent or into trouble, or is well again."""
        is_silent = now - sight.at > SILENT_AFTER_S
        if is_silent != self._is_silent:
            self._is_silent = is_silent
            if is_silent:
                extra = {"silent_s": round(now - sight.at, 1), "trouble": sight.trouble}
                log.warning("the GPU driver does not answer; nothing is moved", extra=extra)
            else:
                log.info("the GPU driver answers again")
        if sight.trouble is not None and sight.trouble != self._trouble:
            log.warning("the GPU driver is in trouble", extra={"trouble": sight.trouble})
        self._trouble = sight.trouble

    # --- in the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._watch()
        except Exception:
            log.exception("the GPUs are not looked at any more")
            self._hand(Sight(time.monotonic(), None, trouble="the watch on the GPUs has ended"))

    def _watch(self) -> None:
        import pynvml

        has_seen = False
        while not self._end.is_set():
            try:
                pynvml.nvmlInit()
                cards = found(pynvml, os.environ.get("CUDA_VISIBLE_DEVICES"))
                if cards:
                    has_seen = True
                    self._look(pynvml, cards)
                elif not has_seen:
                    self._hand(NO_GPUS)
                    return
            except pynvml.NVMLError as error:
                if error.value in _absent(pynvml) and not has_seen:
                    log.info("no GPU to be seen", extra={"driver": str(error)})
                    self._hand(NO_GPUS)
                    return
                self._hand(_sight(trouble=str(error)))
                with contextlib.suppress(pynvml.NVMLError):
                    pynvml.nvmlShutdown()  # whatever comes back is opened anew
            self._end.wait(LOOK_EVERY_S)

    def _look(self, pynvml: ModuleType, cards: Sequence[Card]) -> None:
        """Look again and again; raises what the driver as a whole raises."""
        names = ", ".join(f"{card.index}: {card.name}" for card in cards)
        if names != self._told:  # opened anew after trouble, they are no news
            self._told = names
            log.info("GPUs found", extra={"gpus": names})
        while not self._end.is_set():
            self._hand(_sight(look(pynvml, cards)))
            self._end.wait(LOOK_EVERY_S)

    def _hand(self, sight: Sight) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._seen, sight)


def _sight(gpus: tuple[Gpu, ...] | None = None, trouble: str | None = None) -> Sight:
    """Return what is seen now; main memory is known whatever the driver says."""
    return Sight(time.monotonic(), gpus, trouble, free_bytes(Path("/")))


def _absent(pynvml: ModuleType) -> frozenset[int]:
    """Return the error codes that mean: no card for us on this host, and none will come."""
    return frozenset(
        {
            pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
            pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
            pynvml.NVML_ERROR_NO_PERMISSION,
            pynvml.NVML_ERROR_NOT_SUPPORTED,
        }
    )
