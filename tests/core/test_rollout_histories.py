"""Random histories of arms, gateways, operators and restarts, on a virtual clock."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rerank_server.core.evidence import Compared, Figures
from rerank_server.core.guards import Guards
from rerank_server.core.rollout import (
    Course,
    Decision,
    Presence,
    Rollout,
    Sight,
    State,
    abort,
    pause,
    promote,
    restored,
    resume,
)
from rerank_server.core.rollout_json import rollout_from, rollout_json
from rerank_server.core.rollout_step import step
from tests.core.rollout_build import FAST, SLOW, tally

Health = Literal["good", "failing", "slow", "drifting"]
TICK_S = 1.0
A_MOMENT_S = 3.0
"""A gateway that told nothing for so long may still be there."""
TAU = {"good": 0.9, "failing": 0.9, "slow": 0.9, "drifting": 0.1}


@dataclass
class World:
    """A server with two arms, on a virtual clock."""

    rollout: Rollout
    rate: float
    """Requests a second that name no version."""
    now: float = 0.0
    health: Health = "good"
    presence: Presence = Presence.LIVE
    is_silent: bool = False
    bad_s: float = 0.0
    """How long the arm has been bad without a break, in ticks that were heard of."""
    quiet_s: float = 0.0
    silent_s: float = 0.0
    absent_s: float = 0.0
    of_step: list[tuple[float, Figures]] = field(default_factory=list)
    """The ticks of this step, each with its length."""
    lately: deque[tuple[int, int]] = field(default_factory=deque)
    """Requests and errors of the arm in the ticks of the last quarter of an interval."""
    owed: float = 0.0
    knows_others: bool = False

    @property
    def course(self) -> Course:
        return self.rollout.course

    def tick(self) -> None:
        """Let a second pass."""
        self.now += TICK_S
        before, news = self.rollout, self._news()
        sight = Sight(news, not self.is_silent, self.presence)
        self.rollout, decision = step(before, sight, self.now)
        self._note(before, news)
        if decision is not None:
            self._check_decision(before, decision)
        self._check_step(before)
        self._check_deadlines()

    def _news(self) -> Figures:
        if self.is_silent:
            return Figures()
        self.owed += self.rate * self.rollout.share / 100
        to = int(self.owed)
        self.owed -= to
        others = int(self.rate) - to if self.rollout.share < 100 else 0
        errors = to if self.health == "failing" else 0
        bucket = SLOW if self.health == "slow" else FAST
        copies = others // 2
        mirrored = Compared(copies, copies * TAU[self.health])
        return Figures(tally(to, errors, bucket), tally(others), mirrored)

    def _note(self, before: Rollout, news: Figures) -> None:
        """Keep the world's own account of what the rollout had to go by."""
        is_under_way = not (before.is_awaited or before.step < 0 or before.at is None)
        self.quiet_s = self.quiet_s + TICK_S if self.is_silent and is_under_way else 0.0
        is_heard = is_under_way and self.quiet_s <= A_MOMENT_S
        news = news if is_heard else Figures()
        self.of_step.append((TICK_S if is_heard else 0.0, news))
        self.lately.append((news.arm.requests, news.arm.errors))
        if len(self.lately) > math.ceil(self.course.interval_s / 4):
            self.lately.popleft()
        self.knows_others |= news.others.answered >= self.course.guards.min_requests
        is_ranked = self.course.guards.mirror_tau is not None
        is_bad = self.health != "good" and (
            self.health == "failing"
            or (self.health == "slow" and self.knows_others)
            or (self.health == "drifting" and is_ranked and before.share < 100)
        )
        self.bad_s = (self.bad_s + TICK_S * is_heard) if is_bad and before.share else 0.0
        self.silent_s = self.silent_s + TICK_S if self.is_silent and before.share else 0.0
        is_away = self.presence is not Presence.LIVE and not before.is_awaited
        self.absent_s = self.absent_s + TICK_S if is_away and before.share else 0.0
        if before.is_awaited or not before.is_active:
            self.bad_s = self.silent_s = self.absent_s = 0.0

    def _check_decision(self, before: Rollout, decision: Decision) -> None:
        assert (decision.before, decision.after) == (before.share, self.rollout.share)
        if decision.outcome in ("advanced", "done"):
            assert before.state is State.RUNNING
            had = Figures()
            for _, news in self.of_step:
                had = had.plus(news)
            guards = self.course.guards
            assert had.arm.requests >= guards.min_requests, "advanced blind"
            assert sum(seconds for seconds, _ in self.of_step) >= self.course.interval_s
            asked = sum(requests for requests, _ in self.lately)
            failed = sum(errors for _, errors in self.lately)
            assert failed <= guards.error_ratio * max(asked, guards.min_requests)
            if guards.mirror_tau is not None and before.share < 100:
                assert had.mirrored.compared >= guards.min_requests
        if self.rollout.step != before.step:
            self.of_step.clear()

    def _check_step(self, before: Rollout) -> None:
        after = self.rollout
        assert after.share in {0.0, 100.0, *self.course.steps}
        assert after.share >= before.share or after.state is State.ABORTED
        assert before.is_active or after == before, "what has ended does nothing any more"
        assert rollout_from(json.loads(json.dumps(rollout_json(after)))) == after

    def _check_deadlines(self) -> None:
        """Whatever happened: what is wrong for long enough has no traffic."""
        if self.rollout.is_active:
            assert self.bad_s <= 2 * self.course.interval_s
            assert self.silent_s <= self.course.patience_s
            assert self.absent_s <= self.course.patience_s

    def restart(self) -> None:
        """End the server and start it again, hours later; only the file is left."""
        self.now += 10_000.0
        self.rollout = restored(rollout_from(json.loads(json.dumps(rollout_json(self.rollout)))))
        self.presence = Presence.STARTING
        self.silent_s = self.absent_s = 0.0

    def say(self, word: str) -> None:
        """Do what an operator asks."""
        before = self.rollout
        match word:
            case "pause":
                self.rollout = pause(before)
            case "resume":
                self.rollout = resume(before)
            case "promote":
                self.rollout = promote(before)
            case "abort":
                self.rollout = abort(before, "asked to")
        if self.rollout.step != before.step:
            self.of_step.clear()
        assert self.rollout.share >= before.share or word == "abort"


courses = st.builds(
    Course,
    to=st.just("v2-gemma"),
    steps=st.sampled_from([(1.0, 5.0, 25.0, 50.0, 100.0), (10.0, 30.0), (50.0, 100.0), (100.0,)]),
    interval_s=st.sampled_from([8.0, 20.0, 30.0]),
    guards=st.builds(
        Guards,
        error_ratio=st.sampled_from([0.0, 0.01, 0.2]),
        min_requests=st.sampled_from([1, 10, 50]),
        mirror_tau=st.sampled_from([None, 0.6]),
    ),
)
operations = st.one_of(
    st.tuples(st.just("pass"), st.integers(1, 40)),
    st.tuples(st.just("pass"), st.integers(1, 40)),
    st.tuples(st.just("health"), st.sampled_from(["good", "good", "failing", "slow", "drifting"])),
    st.tuples(st.just("silence"), st.booleans()),
    st.tuples(st.just("presence"), st.sampled_from(Presence)),
    st.tuples(st.just("presence"), st.just(Presence.LIVE)),
    st.tuples(st.just("away for"), st.integers(1, 20)),
    st.tuples(st.just("silent for"), st.integers(1, 20)),
    st.tuples(st.just("say"), st.sampled_from(["pause", "resume", "resume", "promote", "abort"])),
    st.tuples(st.just("restart"), st.none()),
)


def live_through(world: World, history: list[tuple[str, object]]) -> None:
    for what, value in history:
        match what, value:
            case "pass", int(seconds):
                for _ in range(seconds):
                    world.tick()
            case "health", "good" | "failing" | "slow" | "drifting" as health:
                world.health = health
            case "silence", bool(is_silent):
                world.is_silent = is_silent
            case "presence", Presence() as presence:
                world.presence = presence
            case "away for" | "silent for", int(seconds):
                world.presence = Presence.DOWN if what == "away for" else world.presence
                world.is_silent = what == "silent for"
                for _ in range(seconds):
                    world.tick()
                world.presence, world.is_silent = Presence.LIVE, False
            case "say", str(word):
                world.say(word)
            case "restart", _:
                world.restart()


def plenty(course: Course) -> float:
    """Return a rate that gives the first step twice the requests that prove something."""
    least = course.guards.min_requests
    to_arm = 2 * least / (course.steps[0] / 100) / (course.interval_s / 4)
    return max(to_arm, 8.0 * least)


@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    course=courses,
    first=st.sampled_from(Presence),
    history=st.lists(operations, min_size=4, max_size=20),
)
def test_no_history_leaves_a_bad_arm_its_traffic_or_moves_a_share_without_proof(
    course: Course, first: Presence, history: list[tuple[str, object]]
) -> None:
    world = World(Rollout(course), plenty(course), presence=first)

    live_through(world, history)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    course=courses, rate=st.sampled_from([0.0, 0.1, 2.0, 20.0, 100.0]), history=st.lists(operations)
)
def test_with_little_traffic_it_waits(
    course: Course, rate: float, history: list[tuple[str, object]]
) -> None:
    world = World(Rollout(course), rate)
    healthy = [(what, value) for what, value in history if what not in ("health", "say")]

    live_through(world, healthy)


@settings(deadline=None)
@given(course=courses)
def test_a_good_arm_gets_all_its_steps_in_so_many_intervals(course: Course) -> None:
    world = World(Rollout(course), plenty(course))
    shares = []

    for _ in range(int(len(course.steps) * (course.interval_s + 4)) + 2):
        world.tick()
        shares.append(world.rollout.share)

    assert world.rollout.state is State.DONE
    assert list(dict.fromkeys(shares)) == list(course.steps)


@settings(deadline=None)
@given(course=courses, after=st.integers(1, 200), health=st.sampled_from(["failing", "slow"]))
def test_an_arm_that_turns_bad_is_out_within_two_intervals(
    course: Course, after: int, health: Health
) -> None:
    world = World(Rollout(course), plenty(course))
    for _ in range(after):
        world.tick()
    world.health = health

    for _ in range(int(2 * course.interval_s)):
        world.tick()

    has_ended = world.rollout.state is State.DONE and after > course.interval_s
    is_unknown = health == "slow" and course.steps[0] == 100
    assert world.rollout.share == 0.0 or has_ended or is_unknown


@settings(deadline=None)
@given(course=courses, downs=st.integers(1, 5))
def test_time_spent_down_is_no_evidence(course: Course, downs: int) -> None:
    world = World(Rollout(course), plenty(course))
    world.tick()

    for _ in range(downs):
        world.restart()
        world.presence = Presence.LIVE
        world.tick()

    assert world.rollout.step == 0
    assert replace(world.rollout, elapsed_s=0.0) == world.rollout
