"""Remembers which number format won a self-timing, so that a restart never changes scores.

The choice holds for the very files, processor, threads and library version it was measured with;
whatever else changes, it is measured anew. Without a place to remember it nothing is measured:
the same files then always give the same numbers, in fp32.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

STORE = "engine_store"
"""Key of `Context.options`: the file a choice is remembered in. Removing it renews the choice."""

_SCHEMA = 1
_HALF_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
_FLAGS = (*sorted(_HALF_FLAGS), "amx_int8", "avx2", "avx512_vnni", "avx512f")


@dataclass(frozen=True, slots=True)
class Processor:
    """What of a CPU bears on the choice."""

    model: str
    flags: tuple[str, ...]

    @property
    def has_half(self) -> bool:
        """Whether it multiplies bf16 in hardware; without it half precision is far slower."""
        return not _HALF_FLAGS.isdisjoint(self.flags)


@dataclass(frozen=True, slots=True)
class Choice:
    """The winner, and what each candidate took in the self-timing."""

    winner: str
    seconds: Mapping[str, float]
    """Empty for a choice without a rival."""


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
    """Read this machine's."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Processor(platform.machine(), ())
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    return Processor(
        model[1] if model else platform.machine(), tuple(f for f in _FLAGS if f in present)
    )


def conditions(
    files: Sequence[Path], libraries: Mapping[str, str], threads: int, candidates: Sequence[str]
) -> Mapping[str, object]:
    """Describe everything a choice depends on, as JSON values."""
    here = processor()
    return {
        "schema": _SCHEMA,
        "files": [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files],
        "processor": here.model,
        "flags": list(here.flags),
        "libraries": dict(libraries),
        "threads": threads,
        "candidates": list(candidates),
    }


def choose(
    store: Path | None,
    conditions: Mapping[str, object],
    candidates: Sequence[str],
    measure: Callable[[], Mapping[str, float]],
) -> Choice:
    """Return the remembered choice, or measure, decide and remember.

    Args:
        store: where choices are remembered; None takes the first candidate unmeasured.
        conditions: what the choice holds for.
        candidates: the exact one first; a later one wins when it is not slower.
        measure: give seconds for each candidate; called only when nothing is remembered.
    """
    if store is None or len(candidates) == 1:
        return Choice(candidates[0], {})
    remembered = _read(store, conditions)
    if remembered is not None and remembered.winner in candidates:
        return remembered
    seconds = measure()
    winner = min(reversed(candidates), key=lambda name: seconds[name])
    choice = Choice(winner, seconds)
    log.info("engine chosen", extra={"winner": winner, **seconds})
    _write(store, conditions, choice)
    return choice


def _read(store: Path, conditions: Mapping[str, object]) -> Choice | None:
    try:
        stored = json.loads(store.read_text(encoding="utf-8"))
        if stored["conditions"] != conditions:
            return None
        return Choice(
            str(stored["winner"]), {str(k): float(v) for k, v in stored["seconds"].items()}
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("engine choice unreadable", extra={"file": str(store), "error": str(error)})
        return None


def _write(store: Path, conditions: Mapping[str, object], choice: Choice) -> None:
    content = {
        "winner": choice.winner,
        "seconds": dict(choice.seconds),
        "conditions": dict(conditions),
    }
    draft = store.with_name(f"{store.name}.{os.getpid()}")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(content, indent=1), encoding="utf-8")
        draft.replace(store)
    except OSError as error:
        # The version serves all the same; its next start measures again.
        log.warning("engine choice not kept", extra={"file": str(store), "error": str(error)})
