"""The true path: demo versions on cuda:0. None of these tests has been run yet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gpu.hog import Hog
from tests.process.load import Load
from tests.process.server import Server, version_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.weights,
    pytest.mark.process,
    pytest.mark.timeout(600),
]

MODEL = "v2-minilm"
DOCS = [
    "The de Havilland Comet was the first commercial jet airliner.",
    "Boeing 707 entered service in 1958.",
    "Bread is baked from flour, water and salt. " * 40,
]
QUICK = {
    "gpu_pressure_after_s": 1,
    "gpu_recover_after_s": 3,
    "gpu_recover_margin_mb": 100,
    "gpu_cool_down_s": 1,
}
FALLS = {"source": MODEL, "fallback_to_cpu": True, "gpu_memory_threshold_mb": 600}


def free_bytes(state: dict[str, Any]) -> int:
    return int(state["gpu"]["gpus"][0]["free_bytes"])


def wait_on(server: Server, name: str, device: str) -> None:
    server.wait(
        lambda s: (
            [i["device"] for i in version_of(s, name)["instances"] if i["state"] == "RUNNING"]
            == [device]
        ),
        f"{name} runs on {device}",
        timeout_s=180.0,
    )


def test_a_version_loads_on_the_card_and_scores(server: Server) -> None:
    server.configure("v2", {"v2": {"source": MODEL, "device": "cuda:0"}})

    server.start()

    wait_on(server, "v2", "cuda:0")
    answer = server.rerank(docs=DOCS)
    assert answer.status_code == 200
    server.wait(
        lambda s: version_of(s, "v2")["instances"][0]["gpu_memory_bytes"] > 0, "it says what it has"
    )


def test_half_precision_on_the_card_scores_as_full_precision_on_the_cpu(server: Server) -> None:
    server.configure(
        "v2",
        {
            "v2": {"source": MODEL, "device": "cuda:0", "use_fp16": True},
            "v3": {"source": MODEL, "device": "cpu", "use_fp16": False},
        },
    )
    server.start()
    wait_on(server, "v2", "cuda:0")

    on_card = server.rerank("/rerank/v2", docs=DOCS).json()
    on_cpu = server.rerank("/rerank/v3", docs=DOCS).json()

    assert on_card["scores"] == pytest.approx(on_cpu["scores"], abs=5e-3)
    order = [one["index"] for one in on_card["results"]]
    assert order == [one["index"] for one in on_cpu["results"]]


def test_another_tenant_drives_a_version_to_the_cpu_and_back(server: Server) -> None:
    server.configure("v2", {"v2": FALLS}, server=QUICK)
    server.start()
    wait_on(server, "v2", "cuda:0")

    with Load(server.url, ["v2"]) as load:
        with Hog(leave_mb=300):
            wait_on(server, "v2", "cpu")
            load.wait_for(20)
        wait_on(server, "v2", "cuda:0")
        load.wait_for(20)

    assert load.failures() == []


def test_a_full_card_at_the_start_puts_the_version_on_the_cpu(server: Server) -> None:
    server.configure("v2", {"v2": FALLS}, server=QUICK)

    with Hog(leave_mb=200):
        server.start()
        wait_on(server, "v2", "cpu")
        assert server.version("v2")["degraded"] is not None
    wait_on(server, "v2", "cuda:0")


def test_a_load_that_runs_out_of_memory_is_placed_on_the_cpu(server: Server) -> None:
    small = {**FALLS, "gpu_memory_mb": 1, "gpu_memory_threshold_mb": 1}
    server.configure("v2", {"v2": small}, server=QUICK)

    with Hog(leave_mb=60):
        server.start()
        wait_on(server, "v2", "cpu")

    assert server.version("v2")["moves"] == {"gpu_memory": 1}


def test_all_memory_is_back_after_a_version_has_left(server: Server) -> None:
    server.configure("v2", {"v2": {"source": MODEL, "device": "cpu"}})
    server.start()
    before = free_bytes(server.wait(lambda s: s["gpu"]["gpus"], "the card is seen"))

    assert server.cli("move", "v2", "gpu", timeout_s=180.0).returncode == 0
    wait_on(server, "v2", "cuda:0")
    server.wait(lambda s: before - free_bytes(s) > 100 << 20, "it takes some of the card")
    assert server.cli("move", "v2", "cpu", timeout_s=180.0).returncode == 0

    server.wait(lambda s: before - free_bytes(s) < 20 << 20, "it has given all back")
