"""A rollout outlives its supervisor, and a disk that is full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rerank_server.core.traffic import Arm, Traffic
from rerank_server.supervisor.flow import Flow
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.rundir import write_json
from tests.process.rollout_place import FINE, MANY, SECTION, Place, by_rollout


def test_a_restart_keeps_the_step_and_what_was_counted(place: Place) -> None:
    place.configured(SECTION)
    place.turn()
    for _ in range(2):
        place.count(FINE, MANY)
        place.turn()

    place.restarted()
    assert place.turn().traffic == by_rollout(5.0)
    for _ in range(6):
        place.count(FINE, MANY)
        place.turn()

    assert place.current()["step"] == 2
    assert place.events() == ["started", "begun", "advanced"]


def test_a_stop_keeps_what_was_counted_and_the_time_that_passed(place: Place) -> None:
    place.configured({**SECTION, "interval_s": 600})
    place.turn()
    for _ in range(3):
        place.count(FINE, MANY)
        place.turn()

    place.flow.close()
    place.restarted()

    found = place.current()
    assert (found["figures"]["requests"], found["elapsed_s"]) == (30, 4.0)


def test_a_killed_server_has_lost_ten_seconds_at_most(place: Place) -> None:
    place.configured({**SECTION, "interval_s": 600})
    place.turn()
    for _ in range(25):
        place.count(FINE, MANY)
        place.turn()

    place.restarted()

    assert place.current()["elapsed_s"] >= 15.0


def test_a_server_that_never_had_a_rollout_keeps_none(place: Place) -> None:
    place.flow.close()

    assert not place.kept.exists()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"rollout": 5}', "damaged"])
def test_a_broken_file_is_forgotten_and_its_section_not_tried_again(
    place: Place, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    place.configured(SECTION)
    place.turn()
    if text == "damaged":
        whole = place.kept.read_text()
        text = whole.replace('"requests":0', '"requests":1e999')
        assert text != whole
    place.kept.write_text(text)

    place.restarted()

    assert place.turn().traffic == Traffic()
    assert "the rollout is forgotten" in caplog.messages
    place.configured({**SECTION, "steps": [7]})
    assert place.turn().traffic == by_rollout(7.0)


def test_a_file_that_cannot_be_written_stops_nothing(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.kept.unlink(missing_ok=True)
    place.kept.mkdir()

    assert place.order(action="start", to="v2", steps=[5]) == "applied"

    assert place.turn().traffic == by_rollout(5.0)
    assert "the rollout cannot be kept" in caplog.messages


@pytest.fixture
def full_disk(place: Place) -> Iterator[Place]:
    """Have the event log on a disk that is full."""
    place.journal.close()
    place.journal = Journal(Path("/dev/full"))
    place.flow = Flow(place.run, place.state, place.journal, place.config)
    yield place
    place.journal.close()
    place.journal = Journal(place.state.events)


def test_on_a_full_disk_an_order_is_carried_out_once(
    full_disk: Place, caplog: pytest.LogCaptureFixture
) -> None:
    assert full_disk.order(action="start", to="v2", steps=[5]) == "applied"

    assert full_disk.turn().traffic == by_rollout(5.0)
    assert "an event cannot be written" in caplog.messages


def test_on_a_full_disk_the_configs_new_shares_are_in_force(full_disk: Place) -> None:
    full_disk.configured(None, traffic={"v2": 5})
    assert full_disk.ask("traffic", {"shares": {"v2": 10.0}}) == "applied"

    full_disk.configured(None, traffic={"v2": 6})

    assert full_disk.turn().traffic == Traffic((Arm("v2", 6.0),))


def test_what_fails_in_the_traffic_stops_no_turn_of_the_loop(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.run.outcomes.rmdir()
    (place.run.requests / "1-1.json").write_text("{")  # is to be refused, which cannot be told
    write_json(place.run.requests / "1-2.json", {"verb": "traffic", "actor": "a", "said": {}})

    assert place.turn().traffic == Traffic()

    assert "the traffic cannot be tended; it is tried again" in caplog.messages
