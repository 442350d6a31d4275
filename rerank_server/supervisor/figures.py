"""What the workers' beats add up to: totals by version, use of memory by process."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rerank_server.core.publish import Usage
from rerank_server.core.stats import VersionStats
from rerank_server.core.types import Fleet
from rerank_server.supervisor.workers import Beat


class Figures:
    """The figures of one server's life."""

    def __init__(self) -> None:
        self._stats: dict[str, VersionStats] = {}
        self._usage: dict[str, Usage] = {}

    @property
    def stats(self) -> Mapping[str, VersionStats]:
        """By version; they never fall."""
        return self._stats

    @property
    def usage(self) -> Mapping[str, Usage]:
        """By instance, of those that live."""
        return self._usage

    def take(self, beat: Beat) -> None:
        """Take in one beat."""
        stats = self._stats.get(beat.version, VersionStats())
        self._stats[beat.version] = stats.take(beat.instance, beat.counters, time.monotonic())
        self._usage[beat.instance] = beat.usage

    def forget(self, fleet: Fleet) -> None:
        """Let go of the processes that are gone; what they did stays in the totals."""
        alive = {i.id for i in fleet.instances()}
        for gone in [i for i in self._usage if i not in alive]:
            del self._usage[gone]
            version = gone.rpartition(".")[0]
            self._stats[version] = self._stats[version].forget(gone)
