"""What the supervisor makes of an operator's word on the shares: kept, dropped, refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from rerank_server.core.traffic import Arm, Source, Traffic
from rerank_server.supervisor.desired import Desired, Overrides, desire
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.rundir import RunDir, StateDir, prepare_run_dir, write_json
from rerank_server.supervisor.traffic import TrafficDesk

VERSIONS = ("v1", "v2", "v3")


class Place:
    """A run dir, a state dir and a config, with one supervisor's desk after the other."""

    def __init__(self, directory: Path) -> None:
        self.run = RunDir(directory / "run")
        self.state = StateDir(directory)
        prepare_run_dir(self.run, directory.stat().st_uid)
        self._config = directory / "config.yaml"
        self.journal = Journal(self.state.events)
        self.kept = directory / "traffic.json"
        self.desk = self.restarted()

    def restarted(self) -> TrafficDesk:
        self.desk = TrafficDesk(self.run, self.kept, self.journal)
        return self.desk

    def desired(
        self, traffic: Mapping[str, float] | None = None, default: str = "v1", off: str = ""
    ) -> Desired:
        """Return a config's meaning, with these shares."""
        config = {
            "default_version": default,
            "versions": {name: {"enabled": name != off} for name in VERSIONS},
            "traffic": dict(traffic or {}),
        }
        self._config.write_text(yaml.safe_dump(config, sort_keys=False))
        return desire(self._config, Overrides(), 3)

    def ask(self, said: Mapping[str, object], desired: Desired, rollout: str | None = None) -> str:
        """Ask for shares, take the turns of a loop, and return the verdict or the error."""
        write_json(
            self.run.requests / "1-1.json", {"verb": "traffic", "actor": "ann", "said": said}
        )
        self.turn(desired, rollout)
        path = self.run.outcomes / "1-1.json"
        outcome = json.loads(path.read_text())
        path.unlink()
        assert outcome["generation"] == 3
        return str(outcome["error"] or outcome["verdict"])

    def turn(self, desired: Desired, rollout: str | None = None) -> Traffic:
        self.desk.hear(desired, rollout)
        effective = self.desk.effective(desired)
        self.desk.settle(effective, "SIGHUP")
        return effective

    def events(self) -> list[dict[str, object]]:
        lines = self.state.events.read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.journal.close()


def by_operator(*arms: tuple[str, float]) -> Traffic:
    return Traffic(tuple(Arm(*arm) for arm in arms), Source.OPERATOR)


def test_the_config_decides_until_an_operator_speaks(place: Place) -> None:
    desired = place.desired({"v2": 5.0})

    before = place.turn(desired)
    verdict = place.ask({"shares": {"v2": 10.0, "v3": 1.0}}, desired)

    assert before == Traffic((Arm("v2", 5.0),))
    assert verdict == "applied"
    assert place.turn(desired) == by_operator(("v2", 10.0), ("v3", 1.0))


def test_an_operators_word_survives_a_restart_of_the_supervisor(place: Place) -> None:
    desired = place.desired({"v2": 5.0})
    place.ask({"shares": {"v2": 10.0}}, desired)

    place.restarted()

    assert place.turn(desired) == by_operator(("v2", 10.0))


def test_a_word_moves_no_more_keys_than_it_must(place: Place) -> None:
    desired = place.desired({"v2": 5.0, "v3": 5.0})

    place.ask({"shares": {"v3": 10.0}}, desired)

    assert place.turn(desired) == by_operator(("v2", 0.0), ("v3", 10.0))


def test_reset_takes_it_back(place: Place) -> None:
    desired = place.desired({"v2": 5.0})
    place.ask({"shares": {"v2": 10.0}}, desired)

    verdict = place.ask({"shares": None}, desired)

    assert verdict == "applied"
    assert place.turn(desired) == desired.traffic
    assert not place.kept.exists()


@pytest.mark.parametrize(
    "changed", [{"v2": 6.0}, {}, {"v2": 5.0, "v3": 0.0}], ids=["raised", "gone", "another arm"]
)
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_changed_section_of_the_config_drops_it(
    place: Place, changed: dict[str, float], is_restarted: bool
) -> None:
    place.ask({"shares": {"v2": 10.0}}, place.desired({"v2": 5.0}))

    if is_restarted:
        place.restarted()
    after = place.desired(changed)

    assert place.turn(after) == after.traffic
    assert not place.kept.exists()
    assert {
        "event": "operator's traffic dropped",
        "shares": {"v2": 10.0},
        "reason": "the config's traffic changed",
    } in place.events()


def test_other_changes_of_the_config_leave_it(place: Place) -> None:
    place.ask({"shares": {"v2": 10.0, "v3": 20.0}}, place.desired())

    assert place.turn(place.desired(default="v3")) == by_operator(("v2", 10.0))
    assert place.turn(place.desired(off="v2")) == by_operator(("v3", 20.0))


def test_a_change_is_an_event_with_its_source_and_actor(place: Place) -> None:
    desired = place.desired({"v2": 5.0})

    place.turn(desired)
    place.turn(desired)
    place.ask({"shares": {"v2": 10.0}}, desired)
    place.turn(place.desired())
    place.turn(place.desired())

    changes = [event for event in place.events() if event["event"] == "traffic changed"]
    assert [(e["shares"], e["source"], e["actor"]) for e in changes] == [
        ({"v2": 5.0}, "config", "SIGHUP"),
        ({"v2": 10.0}, "operator", "ann"),
        ({}, "config", "SIGHUP"),
    ]


def test_a_server_without_shares_has_no_such_events(place: Place) -> None:
    place.turn(place.desired())

    assert place.events() == []


@pytest.mark.parametrize(
    ("said", "rollout", "error"),
    [
        ({"shares": {"v9": 1.0}}, None, "no version 'v9' here"),
        ({"shares": {"v2": 60.0, "v3": 60.0}}, None, "the shares add up to 120%"),
        ({"shares": {"v2": "much"}}, None, "shares: could not convert string to float: 'much'"),
        ({"shares": 5}, None, "shares: not an object"),
        ({"shares": {"v2": 1.0}}, "a rollout decides", "a rollout decides"),
        ({"shares": None}, "a rollout decides", "a rollout decides"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    place: Place, said: dict[str, object], rollout: str | None, error: str
) -> None:
    desired = place.desired({"v2": 5.0})

    found = place.ask(said, desired, rollout)

    assert found.startswith(error)
    assert place.turn(desired) == desired.traffic


def test_a_word_that_cannot_be_kept_is_refused(place: Place) -> None:
    place.kept.mkdir()
    desired = place.desired()

    error = place.ask({"shares": {"v2": 5.0}}, desired)

    assert error == f"{place.kept}: cannot be written: Is a directory"
    assert place.turn(desired) == Traffic()


def test_a_word_that_cannot_be_removed_is_dropped_all_the_same(place: Place) -> None:
    place.ask({"shares": {"v2": 10.0}}, place.desired())
    place.kept.unlink()
    place.kept.mkdir()

    after = place.desired({"v2": 5.0})

    assert place.turn(after) == after.traffic


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"shares": {}, "config": 5}'])
def test_a_file_that_holds_no_word_is_passed_over(place: Place, content: str) -> None:
    place.kept.write_text(content)

    place.restarted()

    assert place.turn(place.desired({"v2": 5.0})) == Traffic((Arm("v2", 5.0),))


def test_a_request_asked_again_before_it_was_answered_is_answered_once(place: Place) -> None:
    desired = place.desired()
    write_json(
        place.run.requests / "1-1.json",
        {"verb": "traffic", "actor": "ann", "said": {"shares": {"v2": 5.0}}},
    )
    place.desk.hear(desired)  # the turn then fails: say, a full disk
    place.desk.hear(desired)
    place.desk.settle(place.desk.effective(desired), "SIGHUP")

    assert [path.name for path in place.run.outcomes.iterdir()] == ["1-1.json"]
    assert list(place.run.requests.iterdir()) == []


def test_other_verbs_are_left_to_others(place: Place) -> None:
    write_json(place.run.requests / "1-1.json", {"verb": "reload", "actor": "ann"})

    place.turn(place.desired())

    assert [path.name for path in place.run.requests.iterdir()] == ["1-1.json"]


def test_a_rollout_goes_before_the_operator(place: Place) -> None:
    desired = place.desired()
    place.ask({"shares": {"v2": 20.0}}, desired)

    found = place.desk.effective(desired, Arm("v3", 50.0))

    assert found == Traffic((Arm("v2", 10.0), Arm("v3", 50.0)), Source.ROLLOUT)
