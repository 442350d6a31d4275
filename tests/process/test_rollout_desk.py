"""What the supervisor makes of a rollout: by the config, by an operator, by the gateways' files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from rerank_server.core.evidence import Compared, Counts, Tally, counts_json
from rerank_server.core.traffic import Arm, Mirror, Source, Traffic
from rerank_server.core.types import Fleet, Slot, State
from rerank_server.supervisor.desired import Desired, Overrides, desire
from rerank_server.supervisor.flow import Flow
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.rundir import RunDir, StateDir, prepare_run_dir, write_json
from tests.core.build import worker

SECTION = {
    "to": "v2",
    "steps": [5, 100],
    "interval_s": 8,
    "guards": {"error_ratio": 0.1, "min_requests": 10},
}
LIVE = Fleet({name: Slot(name, (worker(name),)) for name in ("v1", "v2")}, default="v1")
LOADING = Fleet(
    {"v1": Slot("v1", (worker("v1"),)), "v2": Slot("v2", (worker("v2", State.STARTING),))},
    default="v1",
)


class Place:
    """A run dir, a state dir, a config and gateways' files, with one supervisor after the other."""

    def __init__(self, directory: Path) -> None:
        self.run = RunDir(directory / "run")
        self.state = StateDir(directory)
        prepare_run_dir(self.run, directory.stat().st_uid)
        self._config = directory / "config.yaml"
        self.journal = Journal(self.state.events)
        self.flow = Flow(self.run, self.state, self.journal)
        self.fleet = LIVE
        self.now = 1000.0
        self.counts = Counts()
        self.desired = self.configured()

    def restarted(self) -> None:
        for file in self.run.gateway.iterdir():
            file.unlink()
        self.counts = Counts()
        self.flow = Flow(self.run, self.state, self.journal)
        self.now += 10_000

    def configured(
        self,
        rollout: Mapping[str, object] | None = None,
        *,
        default: str = "v1",
        off: str = "",
        **more: object,
    ) -> Desired:
        """Have another config accepted, and take a turn."""
        config = {
            "default_version": default,
            "versions": {name: {"enabled": name != off} for name in ("v1", "v2", "v3")},
            "rollout": rollout,
            **more,
        }
        self.desired = desire(self.written(config), Overrides(), 3)
        self.turn()
        return self.desired

    def written(self, config: Mapping[str, object]) -> Path:
        self._config.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        return self._config

    def turn(self, seconds: float = 1.0) -> Desired:
        """Let time pass, take one turn of the loop, and return what it publishes."""
        self.now += seconds
        self.flow.tend(self.desired, self.fleet, self.now)
        published = self.flow.directed(self.desired)
        self.flow.settle(published, "supervisor")
        return published

    def count(
        self, v2: Tally, v1: Tally | None = None, mirrored: Compared | None = None, pid: int = 7
    ) -> None:
        """Have a gateway process count more, and tell it."""
        arms = {"v1": v1 or Tally(), "v2": v2}
        self.counts = Counts(
            {n: self.counts.arms.get(n, Tally()).plus(tally) for n, tally in arms.items()},
            {("v1", "v2"): mirrored or Compared()},
        )
        write_json(
            self.run.gateway / f"evidence-{pid}.json", counts_json(self.counts, self.now + 0.5)
        )

    def order(self, **said: object) -> str:
        """Give an order, and return the verdict or the error."""
        return self.ask("rollout", said)

    def ask(self, verb: str, said: Mapping[str, object]) -> str:
        request = {"verb": verb, "actor": "ann", "said": said}
        write_json(self.run.requests / "1-1.json", request)
        self.turn(0.1)
        path = self.run.outcomes / "1-1.json"
        outcome = json.loads(path.read_text())
        path.unlink()
        return str(outcome["error"] or outcome["verdict"])

    def shown(self) -> dict[str, Any]:
        return dict(self.flow.rollout(self.desired))

    def current(self) -> dict[str, Any]:
        found = self.shown()["current"]
        assert isinstance(found, dict)
        return found

    def events(self) -> list[str]:
        lines = [json.loads(line) for line in self.state.events.read_text().splitlines()]
        found = [str(line["event"]) for line in lines]
        return [e.removeprefix("rollout ") for e in found if e.startswith("rollout ")]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.journal.close()


FINE = Tally(10, 0, {40: 10})
BAD = Tally(10, 10)
MANY = Tally(100, 0, {40: 100})


def by_rollout(share: float) -> Traffic:
    return Traffic((Arm("v2", share),), Source.ROLLOUT)


# --- the config's section -----------------------------------------------------------------------


def test_a_section_of_the_config_begins_a_rollout_by_itself(place: Place) -> None:
    none = {"advanced": 0, "aborted": 0, "done": 0}
    zeros = {"v1": none, "v2": none, "v3": none}
    assert place.shown() == {"current": None, "outcomes": zeros}

    place.configured(SECTION)
    published = place.turn()

    assert place.events() == ["started", "begun"]
    assert published.traffic == by_rollout(5.0)
    assert (place.current()["state"], place.current()["by"]) == ("running", "config")
    assert place.shown()["outcomes"] == zeros


def test_it_waits_for_its_arm_to_load(place: Place) -> None:
    place.fleet = LOADING
    place.configured(SECTION)

    assert place.turn(600).traffic == Traffic()
    place.fleet = LIVE
    assert place.turn().traffic == by_rollout(5.0)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_the_same_section_begins_only_once(place: Place, is_restarted: bool) -> None:
    place.configured(SECTION)
    place.turn()
    place.order(action="abort")

    if is_restarted:
        place.restarted()
    place.configured(SECTION, server={"port": 1})
    place.turn()

    assert place.events() == ["started", "begun", "aborted"]


def test_a_changed_section_leads_the_same_arm_on_from_its_share(place: Place) -> None:
    place.configured(SECTION)
    place.turn()

    place.configured({**SECTION, "steps": [2, 30, 100], "interval_s": 80})

    assert place.turn().traffic == by_rollout(5.0)
    found = place.current()
    assert (found["steps"], found["step"]) == ([2.0, 5.0, 30.0, 100.0], 2)
    assert (found["state"], found["interval_s"]) == ("running", 80.0)
    assert place.events() == ["started", "begun", "changed"]


@pytest.mark.parametrize(
    ("steps", "state"), [([5, 50], "done"), ([100], "done"), ([5, 100], "done")]
)
def test_an_edit_of_its_section_takes_nothing_from_one_that_is_done(
    place: Place, steps: list[float], state: str
) -> None:
    place.configured(SECTION)
    place.order(action="promote")
    place.order(action="promote")

    place.configured({**SECTION, "steps": steps, "interval_s": 80})

    assert place.turn().traffic == by_rollout(100.0)
    assert place.current()["state"] == state


def test_a_section_for_another_version_begins_anew_and_one_taken_out_ends_it(
    place: Place,
) -> None:
    place.configured({**SECTION, "to": "v3"})
    place.turn()
    place.fleet = LIVE
    place.configured({**SECTION, "steps": [7]})
    assert place.turn().traffic == by_rollout(7.0)

    place.configured(None)

    assert place.turn().traffic == Traffic()
    assert place.events() == ["started", "superseded", "started", "begun", "aborted"]
    assert place.current()["reason"] == "its section was taken out of the config"


def test_a_section_takes_over_the_rollout_that_an_operator_began(place: Place) -> None:
    place.order(action="start", to="v2", steps=[3])

    place.configured(SECTION)

    assert place.turn().traffic == by_rollout(3.0)
    assert (place.current()["by"], place.current()["steps"]) == ("config", [3.0, 5.0, 100.0])


def test_an_operators_rollout_needs_no_section(place: Place) -> None:
    place.order(action="start", to="v2", steps=[3])
    place.configured(None, server={"port": 1})

    assert place.turn().traffic == by_rollout(3.0)


def test_when_its_arm_becomes_the_default_it_is_finished(place: Place) -> None:
    place.configured(SECTION)
    place.order(action="promote")

    place.configured(None, default="v2")
    assert place.current()["state"] == "running"
    place.fleet = replace(LIVE, default="v2")
    published = place.turn()

    assert published.traffic == Traffic()
    assert place.shown()["current"] is None
    assert place.events()[-1] == "finished"


@pytest.mark.parametrize("orders", [("start",), ("promote", "promote")])
def test_an_arm_that_is_switched_off_ends_it(place: Place, orders: tuple[str, ...]) -> None:
    place.order(action="start", to="v2")
    place.turn()
    for order in orders:
        place.order(action=order)

    place.configured(None, off="v2")

    assert place.turn().traffic == Traffic()
    assert place.current()["reason"] == "v2 is not enabled any more"


# --- orders -------------------------------------------------------------------------------------


def test_an_order_starts_one_by_the_sections_course_or_its_own(place: Place) -> None:
    place.configured(SECTION)
    place.order(action="abort")

    assert place.order(action="start", p95_ratio=3, mirror_tau=0.5) == "applied"
    found = place.current()
    assert (found["steps"], found["interval_s"]) == ([5.0, 100.0], 8.0)
    assert found["guards"] == {
        "error_ratio": 0.1,
        "p95_ratio": 3.0,
        "min_requests": 10,
        "mirror_tau": 0.5,
    }
    place.order(action="abort")
    assert place.order(action="start", to="v3") == "applied"
    assert place.current()["steps"] == [1.0, 5.0, 25.0, 50.0, 100.0]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"action": "start"}, "to which version? config.yaml has no rollout section"),
        ({"action": "start", "to": "v22"}, "to: 'v22' is not a version here; did you mean 'v2'?"),
        ({"action": "start", "to": "v1"}, "to: 'v1' is the default version already"),
        ({"action": "start", "to": "v2", "steps": [5, 1]}, "steps: must rise from step to step"),
        ({"action": "start", "to": "v2", "steps": []}, "steps: list should have at least 1"),
        ({"action": "start", "to": "v2", "min_requests": 0}, "min_requests: input should be"),
        ({"action": "start", "to": 5}, "to: input should be a valid string"),
        ({"action": "pause"}, "there is no rollout; begin one with: rerank-server rollout start"),
        ({"action": "dance"}, "action: 'dance' is none of start, pause, resume, abort, promote"),
        ({}, "action: None is none of start"),
    ],
)
def test_an_order_that_cannot_be_is_refused(
    place: Place, said: dict[str, object], why: str
) -> None:
    assert place.order(**said).startswith(why)
    assert place.events() == []


def test_a_version_that_is_off_or_that_the_mirror_is_not_for_is_refused(place: Place) -> None:
    place.configured(None, off="v3", mirror={"to": "v2"})

    assert place.order(action="start", to="v3").startswith("to: 'v3' is not enabled")
    place.configured(None, mirror={"to": "v2"})
    refused = place.order(action="start", to="v3", mirror_tau=0.5)
    assert refused == "mirror_tau: needs a mirror to v3, and mirror.to is v2; change one"


def test_there_is_one_rollout_at_a_time(place: Place) -> None:
    place.order(action="start", to="v2", steps=[5, 50])

    refused = place.order(action="start", to="v3")
    assert refused == ("a rollout to v2 is under way; end it first: rerank-server rollout abort")
    place.turn()
    assert place.order(action="promote") == "applied"
    assert place.order(action="promote") == "applied"
    assert place.order(action="start", to="v3").startswith("v2 holds 100% after its rollout; make")
    assert place.order(action="pause") == "the rollout to v2 is done; there is nothing to pause"
    assert place.order(action="abort") == "applied"
    assert place.order(action="promote").startswith("the rollout to v2 was aborted")
    assert place.events() == ["started", "begun", "promoted", "promoted", "aborted"]


def test_to_start_a_paused_one_lets_it_go_on(place: Place) -> None:
    place.order(action="start", to="v2")
    place.order(action="pause")

    assert place.order(action="start") == "applied"
    assert place.current()["state"] == "running"
    place.order(action="pause")
    assert place.order(action="start", to="v2") == "applied"
    place.order(action="pause")
    assert place.order(action="start", to="v2", steps=[9]).startswith("a rollout to v2 is under")


def test_while_it_is_under_way_nobody_sets_shares(place: Place) -> None:
    place.order(action="start", to="v2")

    refused = place.ask("traffic", {"shares": {"v3": 10.0}})

    assert refused == (
        "a rollout to v2 is under way and decides the shares; end it first: "
        "rerank-server rollout abort"
    )


def test_once_it_is_done_nobody_is_told_to_end_it(place: Place) -> None:
    place.order(action="start", to="v2")
    place.order(action="promote")
    place.order(action="promote")

    refused = place.ask("traffic", {"shares": {"v3": 10.0}})

    assert refused == (
        "v2 holds 100% after its rollout; make it the default_version and reload, or take all "
        "of it back: rerank-server rollout abort"
    )


# --- shares and copies --------------------------------------------------------------------------


def test_the_other_shares_shrink_to_what_it_leaves(place: Place) -> None:
    place.configured(None, traffic={"v3": 40})
    place.order(action="start", to="v2", steps=[50])

    found = {arm.version: arm.share for arm in place.turn().traffic.arms}

    assert found == {"v2": 50.0, "v3": 20.0}


@pytest.mark.parametrize("order", ["start", "start after an abort"])
def test_before_it_begins_nothing_is_sent_there(place: Place, order: str) -> None:
    place.configured(None, traffic={"v2": 10})
    if order == "start after an abort":
        place.order(action="start", to="v2")
        place.order(action="abort")
    place.fleet = LOADING

    place.order(action="start", to="v2")

    assert place.turn().traffic == by_rollout(0.0)


@pytest.mark.parametrize("spoken", ["by an operator", "by a reset", "by the config"])
def test_an_aborted_one_leaves_its_arm_nothing_until_somebody_speaks(
    place: Place, spoken: str
) -> None:
    place.configured(None, traffic={"v2": 10})
    place.order(action="start", to="v2")
    place.turn()
    place.order(action="abort")
    assert place.turn().traffic == by_rollout(0.0)
    place.restarted()
    assert place.turn().traffic == by_rollout(0.0)

    if spoken == "by an operator":
        assert place.ask("traffic", {"shares": {"v2": 10.0}}) == "applied"
    elif spoken == "by a reset":
        assert place.ask("traffic", {"shares": None}) == "applied"
    else:
        place.configured(None, traffic={"v2": 9})

    assert [arm.share for arm in place.turn().traffic.arms] != [0.0]
    place.restarted()
    assert [arm.share for arm in place.turn().traffic.arms] != [0.0]


def test_a_word_that_is_refused_gives_an_aborted_one_nothing(place: Place) -> None:
    place.configured(None, traffic={"v2": 10})
    place.order(action="start", to="v2")
    place.order(action="abort")

    assert place.ask("traffic", {"shares": {"v9": 10.0}}).startswith("no version 'v9'")

    assert place.turn().traffic == by_rollout(0.0)


def test_a_guard_on_rankings_brings_its_own_mirror(place: Place) -> None:
    place.order(action="start", to="v2", mirror_tau=0.5)
    assert place.turn().mirror == Mirror("v2", 0.1)

    place.configured(None, mirror={"to": "v2", "share": 0.5})
    assert place.turn().mirror == Mirror("v2", 0.5)
    place.configured(None)
    assert place.turn().mirror == Mirror("v2", 0.1)
    place.order(action="abort")

    assert place.turn().mirror is None


def test_a_guard_on_rankings_is_not_starved_by_a_mirror_to_another_version(place: Place) -> None:
    place.order(action="start", to="v2", mirror_tau=0.5)

    place.configured(None, mirror={"to": "v3", "share": 0.5})
    assert place.turn().mirror == Mirror("v2", 0.1)
    place.order(action="abort")

    assert place.turn().mirror == Mirror("v3", 0.5)


# --- evidence -----------------------------------------------------------------------------------


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


def test_files_of_processes_long_gone_are_removed(place: Place) -> None:
    place.configured(SECTION)
    place.turn()
    place.count(FINE, MANY, pid=7)
    place.turn()
    place.now += 700
    for _ in range(2):
        place.count(FINE, MANY, pid=8)
        place.turn()

    assert [file.name for file in place.run.gateway.iterdir()] == ["evidence-8.json"]


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


# --- the file -----------------------------------------------------------------------------------


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

    assert not place.state.rollout.exists()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"rollout": 5}', "damaged"])
def test_a_broken_file_is_forgotten_and_its_section_not_tried_again(
    place: Place, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    place.configured(SECTION)
    place.turn()
    if text == "damaged":
        whole = place.state.rollout.read_text()
        text = whole.replace('"requests":0', '"requests":1e999')
        assert text != whole
    place.state.rollout.write_text(text)

    place.restarted()

    assert place.turn().traffic == Traffic()
    assert "the rollout is forgotten" in caplog.messages
    place.configured({**SECTION, "steps": [7]})
    assert place.turn().traffic == by_rollout(7.0)


def test_a_file_that_cannot_be_written_stops_nothing(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.state.rollout.unlink(missing_ok=True)
    place.state.rollout.mkdir()

    assert place.order(action="start", to="v2", steps=[5]) == "applied"

    assert place.turn().traffic == by_rollout(5.0)
    assert "the rollout cannot be kept" in caplog.messages


@pytest.fixture
def full_disk(place: Place) -> Iterator[Place]:
    """Have the event log on a disk that is full."""
    place.journal.close()
    place.journal = Journal(Path("/dev/full"))
    place.flow = Flow(place.run, place.state, place.journal)
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


def test_one_whose_arm_is_live_begins_in_the_turn_it_is_asked_for(place: Place) -> None:
    place.order(action="start", to="v2", steps=[5, 50])

    assert place.current()["share"] == 5.0
    assert place.flow.directed(place.desired).traffic == by_rollout(5.0)


def test_an_arm_that_does_not_run_is_not_promoted(place: Place) -> None:
    place.fleet = LOADING
    place.order(action="start", to="v2", steps=[5, 50])

    assert place.order(action="promote").startswith("v2 does not run: starting")

    assert place.current()["share"] == 0.0
    assert place.events() == ["started"]


def test_an_arm_that_is_gone_from_the_config_is_not_promoted(place: Place) -> None:
    place.order(action="start", to="v2")
    config = {"default_version": "v1", "versions": {"v1": {}, "v3": {}}}
    place.desired = desire(place.written(config), Overrides(), 3)

    assert place.order(action="promote") == "v2 does not run: it is not in the config"


def test_what_changes_nothing_is_no_event(place: Place) -> None:
    place.order(action="start", to="v2", steps=[5])
    for action in ("pause", "pause", "resume", "resume", "promote", "promote", "promote"):
        assert place.order(action=action) == "applied"

    assert place.events() == ["started", "begun", "paused", "resumed", "promoted", "promoted"]
