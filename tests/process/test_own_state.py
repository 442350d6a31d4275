"""Shares set by hand and a rollout belong to a config file, not to all that a user starts."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from rerank_server.core.traffic import Arm, Source, Traffic
from rerank_server.supervisor.desired import Overrides, desire
from rerank_server.supervisor.flow import Flow
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.rundir import RunDir, StateDir, prepare_run_dir, write_json
from tests.process.rollout_place import LIVE, SECTION

CONFIG = {"default_version": "v1", "versions": {"v1": {}, "v2": {}}}
BY_HAND = Traffic((Arm("v2", 10.0),), Source.OPERATOR)


class Home:
    """A user's state dir, and the servers started on it one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = StateDir(directory / "state")
        self.state.path.mkdir()
        self.run = RunDir(directory / "run")
        prepare_run_dir(self.run, directory.stat().st_uid)
        self.journal = Journal(self.state.events)

    def config(self, name: str, **more: object) -> Path:
        """Write a config into a checkout of its own."""
        path = self.directory / name / "config.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({**CONFIG, **more}))
        return path

    def serve(self, config: Path, shares: dict[str, float] | None = None) -> Traffic:
        """Start a server, set shares if any, and return the traffic; then end it."""
        flow = Flow(self.run, self.state, self.journal, config)
        desired = desire(config, Overrides(), 3)
        if shares is not None:
            said = {"verb": "traffic", "actor": "ann", "said": {"shares": shares}}
            write_json(self.run.requests / "1-1.json", said)
        for now in (1000.0, 1001.0):
            flow.tend(desired, LIVE, now)
            published = flow.directed(desired)
            flow.settle(published, "supervisor")
        (self.run.requests / "1-1.json").unlink(missing_ok=True)
        flow.close()
        return published.traffic

    def passed_over(self) -> list[list[str]]:
        """Return the configs of each event that says whose traffic was not taken."""
        lines = self.state.events.read_text().splitlines() if self.state.events.exists() else []
        events = [json.loads(line) for line in lines]
        return [e["configs"] for e in events if e["event"] == "traffic of other configs not taken"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.journal.close()


def test_another_config_does_not_inherit_shares_set_by_hand(home: Home) -> None:
    mine, other = home.config("mine"), home.config("other")
    assert home.serve(mine, {"v2": 10.0}) == BY_HAND

    assert home.serve(other) == Traffic()
    assert home.passed_over() == [[str(mine)]]
    assert home.serve(other, {"v2": 20.0}).arms == (Arm("v2", 20.0),)
    assert home.serve(mine) == BY_HAND
    assert home.serve(other).arms == (Arm("v2", 20.0),)
    assert home.passed_over() == [[str(mine)]] * 2, "at each start that had none of its own"


def test_another_config_does_not_inherit_a_rollout(home: Home) -> None:
    mine, other = home.config("mine", rollout=SECTION), home.config("other")
    assert home.serve(mine).arms == (Arm("v2", 5.0),)

    assert home.serve(other) == Traffic()
    assert home.serve(home.config("third", rollout=SECTION)).arms == (Arm("v2", 5.0),)
    assert home.serve(mine).source is Source.ROLLOUT


def moved(home: Home, config: Path) -> Path:
    new = home.directory / "moved.yaml"
    return config.rename(new)


def linked(home: Home, config: Path) -> Path:
    link = home.directory / "link.yaml"
    link.symlink_to(config)
    return link


def moved_behind_a_link(home: Home, config: Path) -> Path:
    config.symlink_to(config.rename(home.directory / "moved.yaml"))
    return config


def by_a_roundabout_way(home: Home, config: Path) -> Path:
    return config.parent / ".." / config.parent.name / config.name


@pytest.mark.parametrize(
    ("way", "is_taken"),
    [(moved, False), (linked, True), (moved_behind_a_link, True), (by_a_roundabout_way, True)],
)
def test_a_config_is_the_same_by_its_path_or_by_its_name(
    home: Home, way: Callable[[Home, Path], Path], *, is_taken: bool
) -> None:
    config = home.config("mine")
    home.serve(config, {"v2": 10.0})

    found = way(home, config)

    assert home.serve(found) == (BY_HAND if is_taken else Traffic())
    assert home.passed_over() == ([] if is_taken else [[str(config)]])


def test_a_link_that_leads_to_the_next_release_keeps_the_shares_and_back(home: Home) -> None:
    first, second = home.config("first"), home.config("second")
    assert home.serve(second) == Traffic()  # tried by its own name before
    link = linked(home, first)
    home.serve(link, {"v2": 10.0})

    for release in (second, first):
        link.unlink()
        link.symlink_to(release)
        assert home.serve(link) == BY_HAND


def test_what_was_kept_without_a_config_goes_to_the_first_that_is_started(home: Home) -> None:
    word = {"schema": 1, "shares": {"v2": 10.0}, "config": {}, "actor": "ann", "time": 5.0}
    write_json(home.state.path / "traffic.json", word)
    mine, other = home.config("mine"), home.config("other")

    assert home.serve(mine) == BY_HAND
    assert home.serve(other) == Traffic()
    assert home.serve(mine) == BY_HAND


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_record_of_whose_it_is_takes_nothing_from_anybody(
    home: Home, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    mine, other = home.config("mine"), home.config("other")
    home.serve(mine, {"v2": 10.0})
    (record,) = home.state.by_config.glob("*/config.json")
    record.write_text(text)

    assert home.serve(other) == Traffic()
    assert "whose it is cannot be read" in caplog.messages
    assert home.serve(mine) == BY_HAND


def test_a_state_dir_that_cannot_be_written_stops_no_server(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    home.state.by_config.write_text("in the way")

    assert home.serve(home.config("mine")) == Traffic()
    assert "what is kept for this config cannot be found or written" in caplog.messages
