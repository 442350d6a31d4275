"""A shutdown fits into its time, and a second signal waits for nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.shutdown import Shutdown
from rerank_server.core.wanted import Policy


@pytest.mark.parametrize("timeout_s", [1.0, 5.0, 90.0, 600.0])
def test_gateway_drain_and_grace_together_stay_within_the_timeout(timeout_s: float) -> None:
    shutdown = Shutdown(began_at=100.0, delay_s=3.0, timeout_s=timeout_s)

    policy = shutdown.shorten(Policy())

    total = shutdown.gateway_timeout_s + policy.drain_timeout_s + policy.stop_grace_s
    assert total <= timeout_s
    assert policy.drain_timeout_s > 0
    assert policy.stop_grace_s > 0


def test_the_gateway_goes_on_for_the_delay() -> None:
    shutdown = Shutdown(began_at=100.0, delay_s=3.0, timeout_s=90.0)

    assert shutdown.gateway_ends_at == 103.0


def test_a_second_signal_waits_for_nothing() -> None:
    shutdown = replace(Shutdown(100.0, 3.0, 90.0), is_hurried=True)

    assert shutdown.gateway_ends_at == 100.0
    assert shutdown.gateway_timeout_s == 0.0
    assert shutdown.shorten(Policy()).drain_timeout_s == 0.0
