"""Versions moved by a person."""

from __future__ import annotations

import pytest

from tests.gpu_fake.server import CardServer
from tests.process.load import Load

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


def test_a_version_moved_by_hand_stays_there_and_loses_no_request(server: CardServer) -> None:
    server.cards.set()
    server.serve({"v1": server.pretending()})

    with Load(server.url, ["v1"]) as load:
        moved = server.cli("move", "v1", "cpu")
        on_cpu = server.pid_of("v1")
        back = server.cli("move", "v1", "auto")
        load.wait_for(10)

    assert (moved.returncode, moved.stdout) == (0, f"v1: RUNNING (PID: {on_cpu}, CPU)\n")
    assert back.returncode == 0
    assert back.stdout == f"v1: RUNNING (PID: {server.pid_of('v1')}, GPU: 0)\n"
    assert load.failures() == []


def test_a_version_put_on_a_card_by_hand_ignores_pressure(server: CardServer) -> None:
    server.cards.set()
    server.serve({"v1": server.pretending(), "v2": server.pretending()})
    assert server.cli("move", "v1", "gpu").returncode == 0

    server.cards.free(100)
    server.wait_on("v2", "cpu")

    assert server.version("v1")["device"] == "cuda:0"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("v1", "gpu"), "error: refused: gpu 0 has 900 MB free, needs 3500\n"),
        (("v7", "cpu"), "error: refused: no version 'v7' here; there are: v1\n"),
    ],
)
def test_a_move_that_cannot_be_says_why(
    server: CardServer, words: tuple[str, str], problem: str
) -> None:
    server.cards.set(tenants=7100)
    server.serve({"v1": server.pretending()})

    done = server.cli("move", *words)

    assert (done.returncode, done.stderr) == (1, problem)
