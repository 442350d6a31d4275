"""All that /metrics says: the gateway's own series and the fleet's, as one set of families."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from rerank_server.core.routing import FallbackReason, RoutesTable
from rerank_server.gateway.fleet_metrics import FALLBACK_LABELS, FALLBACKS, fleet_metrics
from rerank_server.gateway.metrics import Metrics
from rerank_server.gateway.state import Section
from rerank_server.gateway.traffic_metrics import LABELS, REQUESTS, expected, share_metrics


class Everything(Collector):
    """The metrics at one moment."""

    def __init__(self, state: Section, metrics: Metrics, table: RoutesTable | None) -> None:
        self._state = state
        self._metrics = metrics
        self._table = table

    def collect(self) -> Iterable[Metric]:
        """Give every family once, whoever counts its series."""
        families: dict[str, Metric] = {}
        fleet = (*fleet_metrics(self._state), *share_metrics(self._table))
        for metric in (*self._metrics.collect(), *fleet):
            known = families.setdefault(metric.name, metric)
            if known is not metric:
                known.samples += metric.samples
        if self._table is not None:
            if FALLBACKS in families:
                fallbacks = _expected(self._table)
                _start_at_zero(families[FALLBACKS], FALLBACK_LABELS, fallbacks)
            if REQUESTS in families:
                _start_at_zero(families[REQUESTS], LABELS, expected(self._table))
        return families.values()


def _start_at_zero(
    metric: Metric, names: Sequence[str], expected: Iterable[tuple[str, ...]]
) -> None:
    """Add the series that have not happened yet.

    A counter that first appears at 1 shows no increase to Prometheus: of the first fallbacks it
    would see none.
    """
    present = {tuple(s.labels.get(name) for name in names) for s in metric.samples}
    for labels in expected:
        if labels not in present:
            present.add(labels)
            metric.add_sample(f"{metric.name}_total", dict(zip(names, labels, strict=True)), 0.0)


def _expected(table: RoutesTable) -> Iterator[tuple[str, ...]]:
    for arm in table.traffic.arms:
        for reason in FallbackReason:
            if arm.version != table.default and reason is not FallbackReason.UNKNOWN_VERSION:
                yield arm.version, table.default, reason.value
    for route in table.versions.values():
        for reason in FallbackReason:
            if route.fallback and reason is not FallbackReason.UNKNOWN_VERSION:
                yield route.name, route.fallback[0], reason.value
