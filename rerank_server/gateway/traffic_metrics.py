"""How the traffic is split, and how it was, as metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from rerank_server.core.routing import RoutesTable
from rerank_server.core.traffic import shares
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.slot_files import Series, SlotFiles, read

REQUESTS = "reranker_traffic_requests"
LABELS = ("arm", "version", "source")
_DESCRIPTION = "Score requests that the split sent to an arm, by the version that served them"


class TrafficMetrics:
    """Counts the requests that the split decided about."""

    def __init__(self, files: SlotFiles) -> None:
        self._files = files
        self._requests: dict[tuple[str, ...], Series] = {}

    def count(self, exchange: Exchange, version: str) -> None:
        """Count a finished request that was served by `version`, if the split sent it."""
        if exchange.arm is None or exchange.view is None:
            return
        labels = (exchange.arm, version, exchange.view.table.traffic.source.value)
        requests = self._requests.get(labels)
        if requests is None:
            requests = self._requests[labels] = self._files.series(
                "counter",
                REQUESTS,
                f"{REQUESTS}_total",
                dict(zip(LABELS, labels, strict=True)),
                _DESCRIPTION,
            )
        requests.add()


def share_metrics(table: RoutesTable | None) -> Iterator[Metric]:
    """Yield the shares in force; nothing while all goes to the default."""
    if table is None or not table.traffic.arms:
        return
    gauge = GaugeMetricFamily(
        "reranker_traffic_share_ratio",
        "Share of the requests without a version that the split sends to this one, 0 to 1",
        labels=["version"],
    )
    for version, share in shares(table.traffic, table.default).items():
        gauge.add_metric([version], share / 100)
    yield gauge
    yield CounterMetricFamily(REQUESTS, _DESCRIPTION, labels=LABELS)  # before the first, too


def counted(directory: Path) -> Mapping[str, tuple[int, int]]:
    """Return how many requests each arm was sent, and how many of them it served itself.

    `directory` has the files of all gateway processes since the server was started.
    """
    found: dict[str, tuple[int, int]] = {}
    for metric in read(directory):
        for sample in metric.samples if metric.name == REQUESTS else ():
            arm, count = sample.labels["arm"], int(sample.value)
            sent, own = found.get(arm, (0, 0))
            found[arm] = sent + count, own + (count if sample.labels["version"] == arm else 0)
    return found


def expected(table: RoutesTable) -> Iterator[tuple[str, ...]]:
    """Yield the labels of requests that are served by the arm they are sent to."""
    if table.traffic.arms:
        for version in shares(table.traffic, table.default):
            yield version, version, table.traffic.source.value
