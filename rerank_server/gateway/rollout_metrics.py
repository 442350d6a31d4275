"""How a rollout stands, from state.json, as metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from rerank_server.core.rollout import State
from rerank_server.gateway.state import Section, number, section, text


def rollout_metrics(rollout: Section) -> Iterator[Metric]:
    """Yield the metrics of the `rollout` object; without samples while there is none."""
    current = section(rollout.get("current"))
    version = text(current, "to")
    state = GaugeMetricFamily(
        "reranker_rollout_state",
        "1 for the state the rollout to a version is in, 0 for the others",
        labels=["version", "state"],
    )
    for one in State if version else ():
        state.add_metric([version, one], 1.0 if text(current, "state") == one else 0.0)
    yield state
    for name, description, value in (
        (
            "reranker_rollout_share_ratio",
            "Share of the traffic that the rollout gives its version, 0 to 1",
            number(current, "share") / 100,
        ),
        (
            "reranker_rollout_step_seconds",
            "How long the rollout has been at its step",
            number(current, "elapsed_s"),
        ),
        (
            "reranker_rollout_interval_seconds",
            "Least time of a step of the rollout",
            number(current, "interval_s"),
        ),
    ):
        gauge = GaugeMetricFamily(name, description, labels=["version"])
        if version:
            gauge.add_metric([version], value)
        yield gauge
    steps = CounterMetricFamily(
        "reranker_rollout_steps",
        "What rollouts decided: to go on (advanced), that all is well (done), to go back (aborted)",
        labels=["version", "outcome"],
    )
    outcomes = section(rollout.get("outcomes"))
    for to in outcomes:
        counts = section(outcomes[to])
        for outcome in counts:
            steps.add_metric([to, outcome], number(counts, outcome))
    yield steps
