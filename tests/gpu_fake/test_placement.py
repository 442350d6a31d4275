"""Starting on cards: who gets one, who waits, who says why not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.gpu_fake.server import CardServer
from tests.process.server import version_of

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


def visible_to(pid: int) -> str:
    """Return CUDA_VISIBLE_DEVICES of a process."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    values = dict(v.split(b"=", 1) for v in variables if b"=" in v)
    return values[b"CUDA_VISIBLE_DEVICES"].decode()


def test_a_version_runs_on_the_card_with_most_room_and_sees_no_other(server: CardServer) -> None:
    server.cards.set(0, tenants=5000)
    server.cards.set(1, tenants=1000)

    server.serve({"v1": server.pretending()})

    version = server.wait_on("v1", "cuda:1")
    pid = version["instances"][0]["pid"]
    assert visible_to(pid) == server.cards.uuid(1)
    assert server.status_line("v1") == f"v1: RUNNING (PID: {pid}, GPU: 1)"
    assert server.rerank().json()["scores"][0] == 0.9


def test_too_little_memory_starts_on_the_cpu_degraded(server: CardServer) -> None:
    server.cards.set(tenants=8000 - 3400)

    server.serve({"v1": server.pretending()})

    version = server.wait_on("v1", "cpu")
    pid = version["instances"][0]["pid"]
    assert visible_to(pid) == ""
    assert server.status_line("v1") == (
        f"v1: RUNNING (PID: {pid}, CPU, degraded: gpu 0 has 3400 MB free, needs 3500)"
    )


def test_too_little_memory_without_a_fallback_is_failed_with_both_numbers(
    server: CardServer,
) -> None:
    server.cards.set(tenants=7100)

    server.serve({"v1": server.pretending(need=10), "v2": server.pretending(fallback=False)})

    version = server.version("v2")
    assert version["state"] == "FAILED"
    assert version["reason"] == "gpu 0 has 900 MB free, needs 2000; or set fallback_to_cpu: true"
    server.cards.set(tenants=0)
    server.wait_on("v2", "cuda:0")


def test_of_two_versions_racing_for_one_card_the_first_gets_it(server: CardServer) -> None:
    server.cards.set(total=3900)

    server.serve({"v1": server.pretending(load_s=0.5), "v2": server.pretending(load_s=0.1)})

    server.wait_on("v1", "cuda:0")
    server.wait_on("v2", "cpu")


def test_loads_on_one_card_follow_one_another(server: CardServer) -> None:
    server.cards.set(total=20_000)

    server.serve({f"v{n}": server.pretending(load_s=0.3) for n in (1, 2, 3)})

    loading = 0
    for event in server.events():
        if event.get("to") == "STARTING":
            loading += 1
        elif event.get("from") == "STARTING":
            loading -= 1
        assert loading <= 1


@pytest.mark.parametrize(
    ("listed", "expected"), [("1", "GPU-fake-1"), ("GPU-fake-1,0", "GPU-fake-1"), ("", "")]
)
def test_only_the_cards_the_server_may_see_are_used(
    server: CardServer, listed: str, expected: str
) -> None:
    server.cards.set(0)
    server.cards.set(1, tenants=1000 if listed == "1" else 0)
    server.environment["CUDA_VISIBLE_DEVICES"] = listed

    server.serve({"v1": server.pretending()})

    version = server.wait_on("v1", "cuda:0" if expected else "cpu")
    assert visible_to(version["instances"][0]["pid"]) == expected
    assert version["degraded"] is None


@pytest.mark.parametrize("state", ["lost", "sick"])
def test_a_card_that_is_dead_from_the_start_leaves_the_others(
    server: CardServer, state: str
) -> None:
    server.cards.set(0, state=state)
    server.cards.set(1)

    server.serve({"v1": server.pretending()})

    assert server.wait_on("v1", "cuda:1")["degraded"] is None
    shown = server.cli("status", "-v").stdout
    assert "gpu 0: no answer, lost" in shown
    assert "gpu 1: Fake, " in shown


def test_a_card_of_another_container_is_not_counted(server: CardServer) -> None:
    server.cards.set(0, state="foreign")
    server.cards.set(1)

    server.serve({"v1": server.pretending()})

    version = server.wait_on("v1", "cuda:0")
    assert visible_to(version["instances"][0]["pid"]) == "GPU-fake-1"


def test_a_card_whose_memory_cannot_be_told_is_told_of_once(server: CardServer) -> None:
    server.cards.set()
    server.cards.write("memory", "refused")
    server.rewrite({"v1": server.pretending()})
    server.spawn()

    server.wait_on("v1", "cpu")
    server.wait(
        lambda s: version_of(s, "v1")["instances"][0]["uptime_s"] > 3.5,
        "the driver was asked again and again",
    )

    log = (server.root / "supervisor.log").read_text()
    assert log.count("GPUs found") == 1
    assert log.count("the GPU driver is in trouble") == 1


@pytest.mark.parametrize("mode", ["unloaded", "no cards"])
def test_a_driver_without_a_card_is_as_good_as_none(server: CardServer, mode: str) -> None:
    if mode == "unloaded":
        server.cards.set()
        server.cards.write("mode", "unloaded")

    server.serve({"v1": server.pretending()})

    assert server.wait_on("v1", "cpu")["degraded"] is None
    assert server.status_line("v1").endswith(", CPU)")


def test_replicas_are_spread_over_cards_and_each_pid_is_listed(server: CardServer) -> None:
    server.cards.set(0, total=4000)
    server.cards.set(1, total=4000)

    server.serve({"v1": server.pretending(replicas=2)})

    found = server.wait(
        lambda s: [i["state"] for i in version_of(s, "v1")["instances"]] == ["RUNNING"] * 2,
        "both replicas run",
    )
    first, second = version_of(found, "v1")["instances"]
    assert {first["device"], second["device"]} == {"cuda:0", "cuda:1"}
    line = server.status_line("v1")
    assert f"PID: {first['pid']}, GPU: {first['device'][-1]}" in line
    assert f"PID: {second['pid']}, GPU: {second['device'][-1]}" in line


def test_what_a_version_takes_is_learnt_for_the_next_start(server: CardServer) -> None:
    server.cards.set(total=8000)
    (server.models_dir / "v1" / "model").mkdir(parents=True)
    (server.models_dir / "v1" / "model" / "model.bin").write_bytes(b"\0")
    greedy = server.pretending(need=5000)
    del greedy["gpu_memory_mb"]  # guessed from its weights, far too low
    server.serve({"v1": greedy})
    server.wait_on("v1", "cuda:0")
    server.wait(lambda s: s["gpu"]["gpus"][0]["free_bytes"] < 4e9, "the driver shows it")
    assert server.stop() == 0
    learnt = json.loads((server.state_dir / "memory.json").read_text())
    assert any(size >= 5000 << 20 for size in learnt["bytes"].values())

    server.cards.set(total=6000)
    server.start()

    assert server.version("v1")["degraded"] is not None


def test_status_v_shows_the_cards(server: CardServer) -> None:
    server.cards.set(total=8000, tenants=1000)

    server.serve({"v1": server.pretending()})
    server.wait(lambda s: s["gpu"]["gpus"][0]["free_bytes"] == 5000 << 20, "it has loaded")

    shown = server.cli("status", "-v").stdout
    assert "gpu 0: Fake, 5000 of 8000 MB free" in shown


def test_the_kernel_would_take_a_worker_before_the_supervisor(server: CardServer) -> None:
    server.cards.set()

    server.serve({"v1": server.pretending()})

    assert server.process is not None
    worker = Path(f"/proc/{server.pid_of('v1')}/oom_score_adj").read_text()
    own = Path(f"/proc/{server.process.pid}/oom_score_adj").read_text()
    assert int(worker) > int(own) or os.geteuid() != 0
