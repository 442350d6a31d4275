"""A rollout goes by what the gateways count."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace

from rerank_server.core.evidence import Compared
from rerank_server.core.traffic import Traffic
from rerank_server.core.types import Fleet, Slot
from tests.process.rollout_place import BAD, FINE, LIVE, MANY, SECTION, Place, by_rollout


def test_it_goes_on_by_what_the_gateways_count(place: Place) -> None:
    place.configured(SECTION)
    place.turn()
    for _ in range(9):
        place.count(FINE, MANY)
        published = place.turn()

    assert published.traffic == by_rollout(100.0)
    assert place.events() == ["started", "begun", "advanced"]
    assert place.shown()["outcomes"]["v2"] == {"advanced": 1, "aborted": 0, "done": 0}


def test_it_goes_back_by_what_the_gateways_count(place: Place) -> None:
    place.configured(SECTION)
    place.turn()
    place.count(BAD, MANY)

    assert place.turn().traffic == Traffic()

    line = json.loads(place.state.events.read_text().splitlines()[-1])
    assert line["event"] == "traffic changed"
    line = json.loads(place.state.events.read_text().splitlines()[-2])
    assert (line["event"], line["version"], line["share"]) == ("rollout aborted", "v2", 0.0)
    assert line["why"].startswith("error_ratio: 10 of 10 requests failed")
    assert (line["figures"]["requests"], line["figures"]["others_requests"]) == (10, 100)
    assert [guard["standing"] for guard in line["guards"]] == ["broken", "open"]


def test_processes_add_up_and_what_was_before_it_does_not_count(place: Place) -> None:
    place.count(BAD, MANY)
    place.configured(SECTION)
    place.turn()
    place.count(FINE, MANY)
    place.count(FINE, MANY, pid=8)  # another process, that counted all of this itself
    place.turn()

    figures = place.current()["figures"]

    assert (figures["requests"], figures["errors"]) == (10 + 30, 10)


def test_comparisons_reach_the_guard(place: Place) -> None:
    place.order(action="start", to="v2", mirror_tau=0.5, min_requests=10, interval_s=8)
    place.turn()
    place.count(FINE, MANY, Compared(20, -4.0, 3))
    place.turn()

    found = place.current()["figures"]

    assert (found["compared"], found["copies_failed"], found["mean_tau"]) == (20, 3, -0.2)


def test_without_news_it_aborts(place: Place) -> None:
    place.configured(SECTION)
    place.turn()
    broken = place.run.gateway / "evidence-9.json"
    for text in ("[]", "{", '{"schema": 9}'):
        broken.write_text(text)
        place.turn()
    for _ in range(8):
        place.turn()

    assert place.current()["reason"] == "no figures came from the gateway for 11 s"


def ended() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_without_a_rollout_files_of_ended_processes_are_removed_too(place: Place) -> None:
    for pid in (ended(), os.getpid()):
        place.count(FINE, MANY, pid=pid)
    (place.run.gateway / f"evidence-{ended()}.tmp").write_text("{")
    for _ in range(3):
        place.turn(70)

    assert [file.name for file in place.run.gateway.iterdir()] == [f"evidence-{os.getpid()}.json"]


def test_files_of_processes_long_gone_are_removed(place: Place) -> None:
    place.configured(SECTION)
    place.turn()
    place.count(FINE, MANY, pid=ended())
    for _ in range(3):
        place.count(FINE, MANY)
        place.turn(70)

    assert [file.name for file in place.run.gateway.iterdir()] == [f"evidence-{os.getpid()}.json"]


def test_an_arm_that_fails_is_named_with_its_reason(place: Place) -> None:
    place.configured(SECTION)
    place.turn()
    place.fleet = Fleet({"v1": LIVE.slots["v1"], "v2": Slot("v2")}, default="v1")
    for _ in range(12):
        place.count(FINE, MANY)
        place.turn()

    assert place.current()["reason"].startswith("v2 has not been there for 11 s: failed: ")


def test_of_a_long_reason_only_the_first_line_is_told(place: Place) -> None:
    place.configured(SECTION)
    place.turn()
    wanted = place.desired.wanted
    v2 = replace(wanted.versions["v2"], problem="it died: exit code 1\nTraceback:\n  File")
    wanted = replace(wanted, versions={**wanted.versions, "v2": v2})
    place.desired = replace(place.desired, wanted=wanted)
    place.fleet = Fleet({"v1": LIVE.slots["v1"], "v2": Slot("v2")}, default="v1")
    for _ in range(12):
        place.count(FINE, MANY)
        place.turn()

    assert place.current()["reason"] == (
        "v2 has not been there for 11 s: failed: it died: exit code 1"
    )
