"""Any change from config to config: cascades go on being answered, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core.cascade_state import staged
from rerank_server.core.lifecycle import apply, forget, issue
from rerank_server.core.limits import Limits
from rerank_server.core.publish import routes, version_state
from rerank_server.core.reconcile import reconcile
from rerank_server.core.routing import is_served
from rerank_server.core.served import point, serves
from rerank_server.core.stats import VersionStats
from rerank_server.core.traffic import Stage
from rerank_server.core.types import BecameReady, Drained, Event, Exited, Fleet, State
from rerank_server.core.wanted import NOTHING, Wanted, WantedVersion
from tests.core.build import POLICY, version, wanted

PLAIN = ("v1", "v2", "v3", "v4")
CASCADES = ("v5", "v6")


@st.composite
def configs(draw: st.DrawFn) -> Wanted:
    """Draw a valid config: some versions run by themselves, others are cascades of those."""
    running = draw(st.lists(st.sampled_from(PLAIN), min_size=2, unique=True))
    files = st.sampled_from(["a", "b"])
    versions: list[WantedVersion] = [version(name, draw(files)) for name in running]
    for name in draw(st.lists(st.sampled_from(CASCADES), unique=True)):
        if draw(st.booleans()):
            stages = draw(st.lists(st.sampled_from(running), min_size=2, max_size=3, unique=True))
            cuts = [*range(len(stages), 1, -1), None]
            versions.append(
                version(name, cascade=tuple(map(Stage, stages, cuts)), enabled=draw(st.booleans()))
            )
        else:
            versions.append(version(name, draw(files)))
    enabled = [each.name for each in versions if each.enabled]
    return wanted(*versions, default=draw(st.sampled_from(enabled)))


class World:
    """The supervisor's loop, whose workers all do what they are told."""

    def __init__(self) -> None:
        self.wanted = NOTHING
        self.fleet = Fleet()

    def settle(self) -> None:
        """Decide, and let one worker after the other answer, until nothing is left to do."""
        for _ in range(300):
            self._decide()
            event = self._next()
            if event is None:
                return
            self.fleet = apply(self.fleet, event, 0.0, POLICY)
        raise AssertionError("never comes to rest")

    def _decide(self) -> None:
        served = {name for name in self._enabled() if serves(self.fleet, name)}
        if self.wanted is not NOTHING:
            self.fleet = point(self.wanted, forget(self.wanted, self.fleet))
        while actions := reconcile(self.wanted, self.fleet, 0.0, POLICY):
            for action in actions:
                self.fleet = issue(self.fleet, action, 0.0)
        assert all(serves(self.fleet, name) for name in served), "a version that answered does not"
        self._publish()

    def _publish(self) -> None:
        if self.wanted is NOTHING:
            return
        table = routes(self.wanted, self.fleet, Limits(), 1, "/w")
        for name, each in self.wanted.versions.items():
            assert is_served(table, name) == serves(self.fleet, name)
            assert (table.versions[name].absent is None) == serves(self.fleet, name)
            slot = self.fleet.slot(name)
            entry = version_state(each, slot, VersionStats(), {}, 0.0, is_default=False)
            shown = staged(self.wanted, self.fleet, entry, 0.0)
            assert (shown["state"] == "RUNNING") == serves(self.fleet, name)

    def _enabled(self) -> Sequence[str]:
        return [name for name, each in self.wanted.versions.items() if each.enabled]

    def _next(self) -> Event | None:
        for instance in self.fleet.instances():
            match instance.state:
                case State.STARTING:
                    return BecameReady(instance.id, {})
                case State.DRAINING if not instance.is_drained:
                    return Drained(instance.id)
                case State.STOPPING:
                    return Exited(instance.id, 0, "")
                case _:
                    continue
        return None


@given(st.lists(configs(), min_size=1, max_size=5))
def test_whatever_config_follows_nothing_that_answers_stops_and_nothing_is_left_behind(
    history: list[Wanted],
) -> None:
    world = World()

    for asked in history:
        world.wanted = asked
        world.settle()

        cascades = {n: v.cascade for n, v in asked.versions.items() if v.enabled and v.cascade}
        assert dict(world.fleet.cascades) == cascades
        assert world.fleet.default == asked.default
        running = {i.spec for i in world.fleet.instances()}
        assert running == {spec for name in asked.versions for spec in asked.specs(name)}

    world.wanted = NOTHING
    world.settle()
    assert world.fleet.instances() == ()
