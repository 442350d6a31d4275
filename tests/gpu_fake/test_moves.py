"""Leaving a card and coming back, with requests coming in all the time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.gpu_fake.server import CardServer
from tests.process.load import Load, Record
from tests.process.server import version_of

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def table(records: Sequence[Record]) -> list[tuple[str, str, int]]:
    """Return who served when: version asked, device it answered from, answers in a row."""
    rows: list[tuple[str, str, int]] = []
    for record in sorted(records, key=lambda r: (r.asked, r.at + r.seconds)):
        device = "cpu" if record.degraded else "gpu"
        if rows and rows[-1][:2] == (record.asked, device):
            rows[-1] = (record.asked, device, rows[-1][2] + 1)
        else:
            rows.append((record.asked, device, 1))
    return rows


def served_by(records: Sequence[Record], asked: str) -> list[str]:
    """Return the devices in the order they served, those of answers that crossed left out."""
    rows = [row for row in table(records) if row[0] == asked and row[2] > 8]
    devices = [device for _, device, _ in rows]
    return [d for n, d in enumerate(devices) if n == 0 or devices[n - 1] != d]


def test_pressure_and_relief_under_load_fail_no_request(server: CardServer) -> None:
    server.cards.set(total=8000)
    server.serve({"v1": server.pretending(load_s=0.3), "v2": server.pretending(fallback=False)})

    with Load(server.url, ["v1", "v2"]) as load:
        server.cards.free(900)
        server.wait_on("v1", "cpu")
        line = server.status_line("v1")
        load.wait_for(40)
        server.cards.free(6000)
        server.wait_on("v1", "cuda:0")
        load.wait_for(40)

    assert line.endswith("CPU, degraded: gpu 0 has 900 MB free, needs 1500)")
    assert load.failures() == []
    assert load.wrong() == []
    assert served_by(load.records, "v1") == ["gpu", "cpu", "gpu"]
    assert served_by(load.records, "v2") == ["gpu"]
    assert server.moves() == [("v1", "cuda:0", "cpu"), ("v1", "cpu", "cuda:0")]


def test_answers_of_a_degraded_version_say_so(server: CardServer) -> None:
    server.cards.set(tenants=7000)
    server.serve({"v1": server.pretending()})

    answer = server.rerank()

    assert answer.headers["X-Rerank-Degraded"] == "gpu_memory"
    assert answer.json()["degraded"] == "gpu_memory"
    metrics = server.client.get("/metrics").text
    assert 'reranker_degraded{version="v1"} 1.0' in metrics


def test_moves_to_the_cpu_are_counted_as_fallbacks(server: CardServer) -> None:
    server.cards.set()
    server.serve({"v1": server.pretending()})

    server.cards.free(900)
    server.wait_on("v1", "cpu")

    assert server.version("v1")["moves"] == {"gpu_memory": 1}
    lines = server.client.get("/metrics").text.splitlines()
    counted = [line for line in lines if line.startswith("reranker_fallback_count_total{")]
    assert len(counted) == 1
    assert all(f'="{word}"' in counted[0] for word in ("v1", "cpu", "gpu_memory"))
    assert counted[0].endswith(" 1.0")


def test_flapping_pressure_moves_nothing(server: CardServer) -> None:
    server.cards.set()
    server.serve({"v1": server.pretending()}, server={"gpu_pressure_after_s": 2})

    for _ in range(3):
        server.cards.free(900)
        server.wait(lambda s: s["gpu"]["gpus"][0]["free_bytes"] < 1 << 30, "the driver shows it")
        server.cards.free(6000)
        server.wait(lambda s: s["gpu"]["gpus"][0]["free_bytes"] > 1 << 30, "the driver shows it")

    assert server.moves() == []


def test_a_version_replaced_on_a_full_card_stays_on_it(server: CardServer) -> None:
    server.cards.set(total=3600)
    server.cards.write("return_s", "1.2")
    beside = {"device": "cpu", "env": {"TEST_CARDS": str(server.cards.folder)}}
    server.serve({"v1": server.pretending(fallback_version="v2"), "v2": beside})
    first = server.pid_of("v1")

    with Load(server.url, ["v1"]) as load:
        server.rewrite({"v1": server.pretending(fallback_version="v2", batch_size=8), "v2": beside})
        done = server.cli("reload")
        load.wait_for(20)

    assert done.returncode == 0, done.stderr
    assert server.wait_on("v1", "cuda:0")["degraded"] is None
    assert server.pid_of("v1") != first
    assert server.moves() == []
    assert load.failures() == [], "v2 answers for the while that v1 takes"


def test_memory_returned_slowly_is_waited_for(server: CardServer) -> None:
    server.cards.set(total=3600)
    server.cards.write("return_s", "2.5")
    server.serve({"v1": server.pretending(fallback=False)})

    server.rewrite({"v1": server.pretending(fallback=False, batch_size=4)})
    assert server.cli("reload").returncode == 0

    assert server.version("v1")["state"] == "RUNNING"
    reasons = [str(event.get("reason")) for event in server.events()]
    assert not any("MB free" in reason for reason in reasons)


def test_three_versions_under_pressure_move_one_at_a_time(server: CardServer) -> None:
    server.cards.set(total=16_000)
    names = ("v1", "v2", "v3")
    server.serve({name: server.pretending(load_s=0.4) for name in names})

    with Load(server.url, names) as load:
        for name in reversed(names):  # what one has left, another program takes
            server.cards.free(100)
            server.wait_on(name, "cpu")

    assert load.failures() == []
    assert server.moves() == [(name, "cuda:0", "cpu") for name in ("v3", "v2", "v1")]
    on_the_way: set[object] = set()
    for event in server.events():
        if event.get("event") == "moved":
            assert on_the_way == set()
            on_the_way.add(event["version"])
        elif event.get("from") == "STOPPING":
            on_the_way.discard(event["version"])


def test_a_lost_card_is_left(server: CardServer) -> None:
    server.cards.set()
    server.serve({"v1": server.pretending()})

    with Load(server.url, ["v1"]) as load:
        server.cards.set(state="lost")
        version = server.wait_on("v1", "cpu")

    assert version["degraded"] == "gpu 0 is lost"
    assert load.failures() == []
    assert "gpu 0: Fake, lost" in server.cli("status", "-v").stdout


def test_a_card_that_only_answers_with_errors_is_left_while_another_is_well(
    server: CardServer,
) -> None:
    server.cards.set(0)
    server.cards.set(1, tenants=1000)
    server.serve({"v1": server.pretending()})
    server.wait_on("v1", "cuda:0")

    with Load(server.url, ["v1"]) as load:
        server.cards.set(0, state="sick")
        version = server.wait_on("v1", "cuda:1")

    assert version["degraded"] is None
    assert load.failures() == []
    log = (server.root / "supervisor.log").read_text()
    assert log.count("a GPU is lost") == 1


def test_out_of_memory_while_it_loads_starts_it_on_the_cpu(server: CardServer) -> None:
    server.cards.set()
    server.cards.write("out of memory at load", "")

    server.serve({"v1": server.pretending()})

    version = server.wait_on("v1", "cpu")
    assert "CUDA out of memory" in version["degraded"]
    (server.cards.folder / "out of memory at load").unlink()
    server.wait_on("v1", "cuda:0")


@pytest.mark.parametrize(
    ("doc", "reason"),
    [("please run out of memory", "gpu_memory"), ("please break the card", "gpu_error")],
)
def test_a_card_that_fails_a_request_sends_the_version_to_the_cpu(
    server: CardServer, doc: str, reason: str
) -> None:
    server.cards.set(total=16_000)
    server.serve({"v1": server.pretending(), "v2": server.pretending()})

    answer = server.rerank("/rerank/v1", docs=[doc])

    server.wait_on("v1", "cpu")
    assert server.version("v1")["degraded_reason"] == reason
    assert answer.status_code in (200, 502, 503), answer.text
    server.wait_on("v1", "cuda:0")


def test_a_driver_that_hangs_blocks_nothing_and_is_told_once(server: CardServer) -> None:
    server.cards.set()
    server.serve({"v1": server.pretending(), "v2": server.pretending(fallback=False)})

    server.cards.write("mode", "hang")
    with Load(server.url, ["v1", "v2"]) as load:
        server.wait(
            lambda s: s["gpu"]["age_s"] > 7.0, "the last look at the card is old", timeout_s=20.0
        )
        server.rewrite({"v1": server.pretending(), "v2": server.pretending(threads=2)})
        assert server.cli("reload", "--no-wait").returncode == 0
        load.wait_for(40)
        server.cards.write("mode", "ok")
        log = server.root / "supervisor.log"
        again = "the GPU driver answers again"
        server.until(lambda: again in log.read_text(), again)

    assert load.failures() == []
    assert server.moves() == []
    assert log.read_text().count("the GPU driver does not answer") == 1
    assert log.read_text().count(again) == 1


def test_a_driver_that_hangs_at_the_start_is_given_up(server: CardServer) -> None:
    server.cards.set()
    server.cards.write("mode", "hang")

    server.rewrite({"v1": server.pretending()})
    server.spawn()
    version = server.wait_on("v1", "cpu")

    assert version["degraded"] == "the GPU driver does not answer"
    server.cards.write("mode", "ok")
    server.wait_on("v1", "cuda:0")


def test_a_driver_in_trouble_is_told_and_comes_back(server: CardServer) -> None:
    server.cards.set()
    server.serve({"v1": server.pretending()})

    server.cards.write("mode", "error")
    server.wait(lambda s: s["gpu"]["trouble"] is not None, "the driver is in trouble")
    assert "gpu: Unknown Error" in server.cli("status", "-v").stdout
    server.cards.write("mode", "ok")
    server.wait(lambda s: s["gpu"]["trouble"] is None, "it is well again")

    server.cards.free(900)
    server.wait_on("v1", "cpu")


def test_replicas_share_requests_and_one_moves_alone(server: CardServer) -> None:
    server.cards.set(0, total=4000)
    server.cards.set(1, total=4000)
    server.serve({"v1": server.pretending(replicas=2)})

    with Load(server.url, ["v1"]) as load:
        load.wait_for(40)
        server.cards.free(100, index=1)
        server.wait(
            lambda s: (
                sorted(i["device"] for i in version_of(s, "v1")["instances"]) == ["cpu", "cuda:0"]
            ),
            "one replica is on the CPU",
        )
        load.wait_for(40)

    assert load.failures() == []
