"""A real Prometheus scrapes a real server and answers what people ask of it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.conftest import ROOT
from tests.process.server import Server

pytestmark = pytest.mark.process

PATIENCE_S = 30.0
Found = list[dict[str, object]]


class Prometheus:
    """The monitoring server, scraping one target."""

    def __init__(self, command: str, directory: Path, port: int, target: str) -> None:
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ROOT / "etc" / "alerts.yaml")],
            "scrape_configs": [
                {"job_name": "rerank-server", "static_configs": [{"targets": [target]}]}
            ],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{port}"
        self._log = (directory / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                command,
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def ask(self, query: str) -> Found:
        """Return a query's result, empty while the server does not answer yet."""
        try:
            answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=5.0)
        except httpx.TransportError:
            return []
        if answer.status_code != httpx.codes.OK:
            return []
        result = answer.json()["data"]["result"]
        assert isinstance(result, list)
        return result

    def wait(self, query: str, is_it: Callable[[Found], bool] = bool) -> Found:
        """Ask until the result is as it should be; scrapes come once a second."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_it(found := self.ask(query)):
            assert time.monotonic() < deadline, f"{query}: {found}"
            assert self._process.poll() is None, "prometheus ended"
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._log.close()


def value(found: Found) -> float:
    (only,) = found
    pair = only["value"]
    assert isinstance(pair, list)
    return float(pair[1])


def test_a_real_prometheus_answers_the_queries_of_the_handbook(
    server: Server, prometheus: str, free_port: int, short_dir: Path
) -> None:
    server.configure(
        "v2-m3", {"v2-m3": {}, "v2-gemma": {"enabled": False}, "v1": {"env": {"TEST_MODE": ""}}}
    )
    server.start()
    monitor = Prometheus(prometheus, short_dir, free_port, urlsplit(server.url).netloc)
    try:
        monitor.wait('up{job="rerank-server"} == 1')
        fallbacks = 'reranker_fallback_count_total{version="v2-gemma"}'
        monitor.wait(f"sum({fallbacks}) == 0")
        for _ in range(5):
            assert server.rerank("/rerank/v2-gemma").status_code == 200

        p95 = 'reranker_inference_duration_seconds{version="v2-m3",quantile="0.95"} > 0'
        assert 0 < value(monitor.wait(p95)) < PATIENCE_S
        memory = monitor.wait('reranker_gpu_memory_used_bytes{version="v2-gemma"}')
        assert value(memory) == 0.0
        assert monitor.wait('reranker_fallback_count_total{version="v1"}')
        monitor.wait(f"sum({fallbacks}) == 5")
        alert = 'ALERTS{alertname="RerankerFallbacks",version="v2-gemma",alertstate="firing"}'
        assert monitor.wait(alert)
        assert monitor.ask('sum(reranker_requests_total{version="v2-m3",status="200"})')
    finally:
        monitor.close()
