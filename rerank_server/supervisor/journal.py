"""Every state change as one JSON line: what `events` shows and tests check invariants on."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rerank_server.core.cascade import described
from rerank_server.core.types import Fleet
from rerank_server.core.wanted import Wanted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing whose state changed."""

    version: str
    instance: str | None
    before: str | None
    after: str | None
    reason: str | None = None


def changes(before: Fleet, after: Fleet) -> Iterator[Change]:
    """Yield what differs between two fleets, in slot order."""
    old = {i.id: i for i in before.instances()}
    new = {i.id: i for i in after.instances()}
    for instance in new.values():
        was = old.get(instance.id)
        if was is None or was.state is not instance.state:
            yield Change(
                instance.spec.version,
                instance.id,
                was.state if was is not None else None,
                instance.state,
                instance.doom,
            )
    for instance in old.values():
        if instance.id not in new:
            failure = after.slot(instance.spec.version).failure
            known = before.slot(instance.spec.version).failure
            reason = failure.reason if failure is not None and failure is not known else None
            yield Change(instance.spec.version, instance.id, instance.state, None, reason)
    for slot in after.slots.values():
        failure = slot.failure
        if failure is not None and failure is not before.slot(slot.version).failure:
            word = "FAILED" if failure.retry_at is None else "BACKOFF"
            yield Change(slot.version, None, None, word, failure.reason)
    for name in dict.fromkeys((*before.cascades, *after.cascades)):
        left = described(before.cascades.get(name, ())) or None
        taken = described(after.cascades.get(name, ())) or None
        if left != taken:
            yield Change(name, None, left, taken, "stages")
    if before.default != after.default:
        yield Change(after.default or "", None, before.default, after.default, "default route")


class Journal:
    """Appends to events.jsonl, which may be cut at any time (O_APPEND).

    A disk that is full is logged, not raised: what happened is dealt with all the same.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, wanted: Wanted, change: Change, actor: str) -> None:
        """Append one change, with the time, the config generation and who caused it."""
        names = {"before": "from", "after": "to"}
        fields = {names.get(key, key): value for key, value in asdict(change).items()}
        self._line({"generation": wanted.generation, "actor": actor, **fields})
        went_wrong = change.after in ("BACKOFF", "FAILED")
        known = {key: value for key, value in fields.items() if value is not None}
        log.log(logging.WARNING if went_wrong else logging.INFO, "state changed", extra=known)

    def note(self, what: str, **fields: object) -> None:
        """Append an event of the server itself."""
        self._line({"event": what, **fields})

    def close(self) -> None:
        """Close the file."""
        with self._tolerant():
            self._file.close()

    def _line(self, fields: dict[str, object]) -> None:
        entry = {"time": round(time.time(), 3), **fields}
        with self._tolerant():
            self._file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            log.error("an event cannot be written", extra={"why": error.strerror})
