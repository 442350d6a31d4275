"""docs/metrics.md, the alerts and the dashboard speak of the series that /metrics really has."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from rerank_server.core.routing import FallbackReason
from rerank_server.core.traffic import Arm, Mirror, Stage, Traffic
from rerank_server.gateway.fleet_metrics import FALLBACK_HELP
from tests.conftest import ROOT
from tests.gateway.fakes import route, table
from tests.gateway.fleet_state import STATE, publish_state
from tests.gateway.harness import Gateway
from tests.instruments.known import Told, told, used_in

DASHBOARD = json.loads((ROOT / "etc" / "grafana-dashboard.json").read_text())
RULES = yaml.safe_load((ROOT / "etc" / "alerts.yaml").read_text())["groups"][0]["rules"]
UNITS = ("_seconds", "_bytes", "_total")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[str]:
    gateway = Gateway(tmp_path)
    publish_state(gateway.directory, STATE)
    away = route("v2", fallback=["v1"], absent=FallbackReason.FAILED)
    mirror = Mirror("v2", 1.0)
    split = Traffic((Arm("v2", 50.0),))
    stages = (Stage("v1", 1), Stage("v3"))
    fast = replace(route("v2-fast"), cascade=stages, absent=None)
    shown = table(route("v1", "v1.1"), away, route("v3", "v3.1"), fast)
    gateway.show(replace(shown, mirror=mirror, traffic=split))
    for version in ("v1", "v2", "v2-fast"):
        gateway.post(f"/rerank/{version}", {"query": "q", "docs": ["a", "b"]})
    yield gateway.get("/metrics").text
    gateway.close()


def test_the_page_lists_every_series_and_nothing_else(page: str) -> None:
    found = {}
    for family in text_string_to_metric_families(page):
        labels = frozenset(name for sample in family.samples for name in sample.labels)
        end = "_total" if family.type == "counter" else ""
        found[family.name + end] = Told(family.type, labels)

    assert found == told()


def test_every_series_has_a_help_text_a_base_unit_and_one_prefix(page: str) -> None:
    for family in text_string_to_metric_families(page):
        assert family.name.startswith("reranker_")
        assert len(family.documentation) > 15
        assert not re.search(r"_(ms|mb|kb|minutes|percent)$", family.name)


def test_what_two_processes_count_has_one_help_text(page: str) -> None:
    helps = [line for line in page.splitlines() if line.startswith("# HELP")]

    assert len({line.split()[2] for line in helps}) == len(helps)
    assert FALLBACK_HELP in page


def test_prometheus_own_tool_finds_nothing_to_say_about_the_page(promtool: str, page: str) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=page, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_series_stands_there_twice(page: str) -> None:
    names = [line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#")]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_known_series_and_says_what_to_do(rule: dict[str, object]) -> None:
    used = used_in(str(rule["expr"]))
    annotations = rule["annotations"]
    assert isinstance(annotations, dict)

    assert used or "up{" in str(rule["expr"])
    assert used <= set(told())
    assert annotations["summary"]
    assert annotations["description"]


def test_the_alert_on_fallbacks_points_at_the_probe() -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == "RerankerFallbacks"]

    assert "rerank-server probe {{ $labels.version }}" in rule["annotations"]["description"]


def test_every_panel_of_the_dashboard_asks_for_known_series() -> None:
    panels = DASHBOARD["panels"]
    used: set[str] = set()
    for panel in panels:
        assert panel["title"]
        assert panel["type"] == "timeseries"
        for target in panel["targets"]:
            assert used_in(target["expr"]) <= set(told())
            used |= used_in(target["expr"])

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert used == set(told())
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}
    assert len(places) == len(panels)
    assert {v["name"] for v in DASHBOARD["templating"]["list"]} == {"datasource", "version"}


def test_prometheus_own_tool_accepts_the_alerts(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", str(ROOT / "etc" / "alerts.yaml")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_the_alerts_fire_when_they_should_and_not_before(promtool: str, tmp_path: Path) -> None:
    tests = Path(__file__).with_name("alert_tests.yaml").read_text()
    file = tmp_path / "tests.yaml"
    file.write_text(tests.replace("ALERTS", str(ROOT / "etc" / "alerts.yaml")))

    done = subprocess.run(
        [promtool, "test", "rules", str(file)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"alertname: {rule['alert']}\n" in tests for rule in RULES)
