"""How many documents the stages of cascades prune, as a metric."""

from __future__ import annotations

from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.slot_files import Series, SlotFiles
from rerank_server.gateway.stages import pruned


class CascadeMetrics:
    """Counts what each stage but the last takes out."""

    def __init__(self, files: SlotFiles) -> None:
        self._files = files
        self._pruned: dict[tuple[str, str], Series] = {}

    def count(self, exchange: Exchange, version: str) -> None:
        """Count a finished request, if a cascade served it."""
        if exchange.scores is None:
            return
        for stage, docs in pruned(exchange.scores).items():
            series = self._pruned.get((version, stage))
            if series is None:
                series = self._pruned[version, stage] = self._files.series(
                    "counter",
                    "reranker_cascade_pruned",
                    "reranker_cascade_pruned_total",
                    {"version": version, "stage": stage},
                    "Documents that a cascade's stage did not let through",
                )
            series.add(docs)
