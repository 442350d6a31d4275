"""What is counted of copies, by the version that answered and the one that scored the copy."""

from __future__ import annotations

from collections.abc import Mapping

from rerank_server.core.agreement import Agreement
from rerank_server.gateway.copies import Result
from rerank_server.gateway.slot_files import Histogram, Series, SlotFiles

_TAU = (-0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_OVERLAP = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_LATENCY = (0.1, 0.25, 0.5, 0.75, 0.9, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class MirrorMetrics:
    """The counters of one gateway process. Labels are configured names only."""

    def __init__(self, files: SlotFiles) -> None:
        self._files = files
        self._pairs: dict[tuple[str, str], _Pair] = {}

    def count(self, version: str, to: str, result: Result) -> None:
        """Count what became of a copy of a request that `version` answered."""
        self._pair(version, to).results[result].add()

    def compare(
        self, version: str, to: str, docs: int, found: Agreement, latency_ratio: float | None
    ) -> None:
        """Count how two rankings of so many documents agree."""
        pair = self._pair(version, to)
        pair.docs.add(docs)
        pair.agreements.add(float(found.is_top_same))
        pair.tau.observe(found.tau)
        pair.overlap.observe(found.overlap)
        if latency_ratio is not None:
            pair.latency.observe(latency_ratio)

    def _pair(self, version: str, to: str) -> _Pair:
        pair = self._pairs.get((version, to))
        if pair is None:
            pair = self._pairs[version, to] = _Pair(self._files, {"version": version, "to": to})
        return pair


class _Pair:
    """The series of two versions. All there from the first copy: so each rise is seen as one."""

    def __init__(self, files: SlotFiles, labels: Mapping[str, str]) -> None:
        def counter(name: str, description: str, more: Mapping[str, str] | None = None) -> Series:
            every = {**labels, **(more or {})}
            return files.series("counter", name, f"{name}_total", every, description)

        self.results = {
            result: counter(
                "reranker_mirror_requests",
                "Requests drawn to be scored by another version too, by what became of the copy",
                {"result": result.value},
            )
            for result in Result
        }
        self.docs = counter(
            "reranker_mirror_pairs", "Query-document pairs whose two scores were compared"
        )
        self.agreements = counter(
            "reranker_mirror_top1_agreements",
            "Compared requests for which both versions put the same document first",
        )
        self.tau = Histogram(
            files,
            "reranker_mirror_kendall_tau",
            "Kendall's tau-b of the two rankings of a request, -1 to 1",
            labels,
            _TAU,
        )
        self.overlap = Histogram(
            files,
            "reranker_mirror_overlap_ratio",
            "Share of the first ten documents that both rankings of a request have",
            labels,
            _OVERLAP,
        )
        self.latency = Histogram(
            files,
            "reranker_mirror_latency_ratio",
            "Model time of the copy as a multiple of the request's own",
            labels,
            _LATENCY,
        )
