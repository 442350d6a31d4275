"""The supervisor's figures from state.json, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from rerank_server.gateway.rollout_metrics import rollout_metrics
from rerank_server.gateway.state import Section, items, number, section, text, versions

FALLBACKS = "reranker_fallback_count"
FALLBACK_HELP = "Requests answered by another version than the one asked for; moves to the CPU"
FALLBACK_LABELS = ("version", "to", "reason")
STATES = ("RUNNING", "STARTING", "BACKOFF", "DRAINING", "STOPPING", "FAILED", "DISABLED")
_QUANTILES = (("0.5", "p50"), ("0.9", "p90"), ("0.95", "p95"), ("0.99", "p99"))


def fleet_metrics(state: Section) -> Iterator[Metric]:
    """Yield the metrics of a state object; none for an empty one. Counters never fall."""
    if not state:
        return
    fleet = versions(state)
    yield _inference(fleet)
    yield _states(fleet)
    yield _moves(fleet)
    for name, description, value in _COUNTERS:
        counter = CounterMetricFamily(name, description, labels=["version"])
        for version in fleet:
            counter.add_metric([text(version, "name")], value(version))
        yield counter
    for name, description, value in _GAUGES:
        gauge = GaugeMetricFamily(name, description, labels=["version"])
        for version in fleet:
            gauge.add_metric([text(version, "name")], value(version))
        yield gauge
    yield from rollout_metrics(section(state.get("rollout")))
    yield GaugeMetricFamily(
        "reranker_config_generation",
        "Number of the configuration in force; grows by one with each accepted change",
        value=number(state, "generation"),
    )
    yield GaugeMetricFamily(
        "reranker_config_refused",
        "1 while config.yaml as it stands was refused and an older one is in force",
        value=0.0 if state.get("config_error") is None else 1.0,
    )
    yield CounterMetricFamily(
        "reranker_gateway_restarts",
        "Times the gateway was started again after it ended by itself",
        value=number(section(state.get("gateway")), "restarts"),
    )


def _inference(fleet: list[Section]) -> Metric:
    name = "reranker_inference_duration_seconds"
    metric = Metric(
        name,
        "Model time of one request, without queueing; quantiles over a sliding minute",
        "summary",
    )
    for version in fleet:
        labels = {"version": text(version, "name")}
        duration = section(version.get("duration"))
        for quantile, key in _QUANTILES:
            value = number(duration, key) if duration.get(key) is not None else float("nan")
            metric.add_sample(name, {**labels, "quantile": quantile}, value)
        metric.add_sample(f"{name}_count", labels, number(duration, "count"))
        metric.add_sample(f"{name}_sum", labels, number(duration, "sum_s"))
    return metric


def _states(fleet: list[Section]) -> Metric:
    gauge = GaugeMetricFamily(
        "reranker_worker_state",
        "1 for the state a version is in, 0 for the others",
        labels=["version", "state"],
    )
    for version in fleet:
        for state in STATES:
            is_in = text(version, "state") == state
            gauge.add_metric([text(version, "name"), state], 1.0 if is_in else 0.0)
    return gauge


def _moves(fleet: list[Section]) -> Metric:
    """Return the moves to the CPU, counted as fallbacks of the version to the device."""
    counter = CounterMetricFamily(FALLBACKS, FALLBACK_HELP, labels=FALLBACK_LABELS)
    for version in fleet:
        moves = section(version.get("moves"))
        for reason in moves:
            counter.add_metric([text(version, "name"), "cpu", reason], number(moves, reason))
    return counter


def _total(key: str) -> Callable[[Section], float]:
    return lambda version: number(section(version.get("totals")), key)


def _queue(key: str) -> Callable[[Section], float]:
    return lambda version: number(section(version.get("queue")), key)


def _over_instances(key: str) -> Callable[[Section], float]:
    return lambda version: sum(
        number(section(instance), key) for instance in items(version.get("instances"))
    )


_COUNTERS: tuple[tuple[str, str, Callable[[Section], float]], ...] = (
    ("reranker_pairs", "Query-document pairs scored", _total("pairs")),
    ("reranker_tokens", "Tokens scored, without padding", _total("tokens")),
    ("reranker_model_errors", "Requests that the model failed on", _total("errors")),
    (
        "reranker_worker_restarts",
        "Times a version's worker was started again after it ended by itself",
        lambda version: number(version, "restarts"),
    ),
)
_GAUGES: tuple[tuple[str, str, Callable[[Section], float]], ...] = (
    (
        "reranker_queue_pairs",
        "Pairs in the workers that are not answered yet",
        _queue("queued_pairs"),
    ),
    ("reranker_in_flight_requests", "Requests that the workers hold", _queue("in_flight")),
    (
        "reranker_gpu_memory_used_bytes",
        "GPU memory of the version's worker processes",
        _over_instances("gpu_memory_bytes"),
    ),
    (
        "reranker_memory_used_bytes",
        "Resident memory of the version's worker processes",
        _over_instances("memory_bytes"),
    ),
    (
        "reranker_degraded",
        "1 while the version runs on a lesser device than configured",
        lambda version: 0.0 if version.get("degraded") is None else 1.0,
    ),
)
