"""Which shares an operator may set."""

from __future__ import annotations

import pytest

from rerank_server.config import Config, parse
from rerank_server.supervisor.traffic_by_hand import refusal

CONFIG = """
default_version: v2-m3
versions:
  v2-m3: {}
  v2-gemma: {}
  v1: {}
  v1-old: {enabled: false}
"""


def config() -> Config:
    return parse(CONFIG, path="config.yaml")


@pytest.mark.parametrize(
    "shares",
    [
        None,
        {},
        {"v2-gemma": 0.0},
        {"v2-gemma": 10.0},
        {"v2-gemma": 100.0},
        {"v2-gemma": 33.3, "v1": 66.7},
        {"v2-m3": 95.0, "v2-gemma": 5.0},
    ],
)
def test_shares_of_enabled_versions_up_to_100_may_be_set(shares: dict[str, float] | None) -> None:
    assert refusal(shares, config(), None) is None


@pytest.mark.parametrize(
    ("shares", "why"),
    [
        ({"v2-gema": 10.0}, "no version 'v2-gema' here; did you mean 'v2-gemma'?"),
        ({"nought": 1.0}, "no version 'nought' here; there are: v2-m3, v2-gemma, v1, v1-old"),
        ({"v1-old": 1.0}, "v1-old is not enabled; enable it in the config and reload"),
        ({"v1": 120.0}, "v1: 120 is no share; give 0 to 100 percent"),
        ({"v1": -1.0}, "v1: -1 is no share; give 0 to 100 percent"),
        ({"v1": float("nan")}, "v1: nan is no share; give 0 to 100 percent"),
        ({"v1": 60.0, "v2-gemma": 50.0}, "the shares add up to 110%; at most 100%"),
        ({"v2-m3": 50.0, "v1": 10.0}, "the shares add up to 60%, and v2-m3, which gets"),
    ],
)
def test_other_shares_are_refused_with_what_is_wrong(shares: dict[str, float], why: str) -> None:
    said = refusal(shares, config(), None)

    assert said is not None
    assert said.startswith(why)


@pytest.mark.parametrize("shares", [None, {"v2-gemma": 10.0}])
def test_while_a_rollout_decides_all_are_refused(shares: dict[str, float] | None) -> None:
    assert refusal(shares, config(), "a rollout decides") == "a rollout decides"
