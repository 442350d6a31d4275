"""All that /metrics says: the gateway's own series and the fleet's, as one set of families."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from rerank_server.core.routing import FallbackReason, RoutesTable
from rerank_server.gateway.fleet_metrics import FALLBACK_LABELS, FALLBACKS, fleet_metrics
from rerank_server.gateway.metrics import Metrics
from rerank_server.gateway.state import Section


class Everything(Collector):
    """The metrics at one moment."""

    def __init__(self, state: Section, metrics: Metrics, table: RoutesTable | None) -> None:
        self._state = state
        self._metrics = metrics
        self._table = table

    def collect(self) -> Iterable[Metric]:
        """Give every family once, whoever counts its series."""
        families: dict[str, Metric] = {}
        for metric in (*self._metrics.collect(), *fleet_metrics(self._state)):
            known = families.setdefault(metric.name, metric)
            if known is not metric:
                known.samples += metric.samples
        if FALLBACKS in families:
            _start_at_zero(families[FALLBACKS], self._table)
        return families.values()


def _start_at_zero(fallbacks: Metric, table: RoutesTable | None) -> None:
    """Add the series that have not happened yet.

    A counter that first appears at 1 shows no increase to Prometheus: of the first fallbacks it
    would see none.
    """
    present = {tuple(s.labels.get(name) for name in FALLBACK_LABELS) for s in fallbacks.samples}
    for labels in _expected(table):
        if labels not in present:
            sample = dict(zip(FALLBACK_LABELS, labels, strict=True))
            fallbacks.add_sample(f"{FALLBACKS}_total", sample, 0.0)


def _expected(table: RoutesTable | None) -> Iterator[tuple[str, str, str]]:
    if table is None:
        return
    for route in table.versions.values():
        for reason in FallbackReason:
            if route.fallback and reason is not FallbackReason.UNKNOWN_VERSION:
                yield route.name, route.fallback[0], reason.value
