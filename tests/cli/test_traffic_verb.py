"""The verb that shows and sets the shares of the traffic."""

from __future__ import annotations

import json
import time

import pytest

from rerank_server.gateway.slot_files import SlotFiles
from rerank_server.gateway.traffic_metrics import REQUESTS
from tests.cli.conftest import Done, Fake
from tests.core.state_json import arms, state, version

HINT = "hint: rerank-server traffic --help"


def started(fake: Fake, traffic: dict[str, object] | None = None) -> None:
    picture = state(version("v2-m3", "RUNNING", default=True), traffic=traffic)
    picture["time"] = time.time()
    fake.tell(state=picture)
    assert fake.start(wait="0").code in (0, 1)


def count(fake: Fake, slot: int, arm: str, served: str, requests: int) -> None:
    """Write what one gateway process counted."""
    files = SlotFiles(fake.options.run.metrics, slot)
    labels = {"arm": arm, "version": served, "source": "config"}
    files.series("counter", REQUESTS, f"{REQUESTS}_total", labels, "").add(requests)
    files.close()


def test_it_shows_shares_who_set_them_and_what_came_of_them(fake: Fake) -> None:
    started(fake, arms("operator", v2_gemma=5.0))
    count(fake, 0, "v2-gemma", "v2-gemma", 7)
    count(fake, 1, "v2-gemma", "v2-gemma", 30)
    count(fake, 1, "v2-gemma", "v2-m3", 3)

    assert fake.command("traffic") == Done(
        0,
        [
            "version   share  requests  served",
            "v2-gemma     5%        40      37",
            "v2-m3       95%         0       0",
        ],
        ["set by an operator; back to the config's: rerank-server traffic --reset"],
    )


def test_it_shows_them_as_json(fake: Fake) -> None:
    started(fake, arms("rollout", v2_gemma=5.0))
    count(fake, 0, "v2-gemma", "v2-m3", 2)

    done = fake.command("traffic", "--json")

    assert json.loads("\n".join(done.out)) == {
        "schema": 1,
        "source": "rollout",
        "shares": {"v2-gemma": 5.0, "v2-m3": 95.0},
        "requests": {"v2-gemma": {"sent": 2, "served": 0}},
    }
    assert (done.code, done.err) == (0, [])


def test_where_nothing_is_split_the_default_has_everything(fake: Fake) -> None:
    started(fake)

    done = fake.command("traffic")

    assert done.out[1:] == ["v2-m3     100%         0       0"]
    assert done.err == ["set by the config"]


@pytest.mark.parametrize("arguments", [["v2-gemma=10", "v1=2.5%"], ["--reset"]])
def test_what_was_set_is_shown(fake: Fake, arguments: list[str]) -> None:
    started(fake, arms("operator", v2_gemma=10.0, v1=2.5))
    fake.tell(outcome={"verdict": "applied", "generation": 7})

    done = fake.command("traffic", *arguments)

    assert done.code == 0
    assert [line.split() for line in done.out[1:]] == [
        ["v2-gemma", "10%", "0", "0"],
        ["v1", "2.5%", "0", "0"],
        ["v2-m3", "87.5%", "0", "0"],
    ]


def test_what_the_server_refuses_is_1_with_its_reason(fake: Fake) -> None:
    started(fake)
    why = "no version 'v2-gema' here; did you mean 'v2-gemma'?"
    fake.tell(outcome={"verdict": "refused", "generation": 7, "error": why, "reasons": {}})

    assert fake.command("traffic", "v2-gema=10") == Done(1, [], [f"error: refused: {why}"])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["v2-gemma"], "'v2-gemma': give VERSION=PERCENT, such as v2-gemma=10"),
        (["v2-gemma=much"], "'v2-gemma=much': give VERSION=PERCENT, such as v2-gemma=10"),
        (["v2-gemma=nan"], "'v2-gemma=nan': give VERSION=PERCENT, such as v2-gemma=10"),
        (["v2-gemma=-inf%"], "'v2-gemma=-inf%': give VERSION=PERCENT, such as v2-gemma=10"),
        (["v1=5", "v1=6"], "v1 has two shares"),
        (["v1=5", "--reset"], "give shares or --reset, not both"),
    ],
)
def test_what_makes_no_sense_is_2_with_a_hint(fake: Fake, arguments: list[str], error: str) -> None:
    started(fake)

    assert fake.command("traffic", *arguments) == Done(2, [], [f"error: {error}", HINT])


def test_without_a_server_it_is_4(fake: Fake) -> None:
    done = fake.command("traffic", "v1=5")

    assert (done.code, done.out) == (4, [])
