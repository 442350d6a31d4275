"""Runs the rollout: feeds it with evidence, keeps it over restarts, takes orders."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rerank_server.core.absence import absence_of
from rerank_server.core.rollout import (
    NOT_BEGUN,
    Course,
    Decision,
    Presence,
    Rollout,
    Sight,
    State,
    abort,
    redirected,
    restored,
)
from rerank_server.core.rollout_json import figures_shown, finding_json, rollout_shown
from rerank_server.core.rollout_orders import PAST, Order, holding, means_resume, obey, started
from rerank_server.core.rollout_step import step
from rerank_server.core.routing import FallbackReason
from rerank_server.core.traffic import Arm, Mirror, Source
from rerank_server.core.types import Fleet
from rerank_server.errors import UsageError
from rerank_server.supervisor.desired import Desired
from rerank_server.supervisor.evidence import PRUNE_EVERY_S, EvidenceFiles
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.rollout_course import asked_course, course_of, digest_of
from rerank_server.supervisor.rollout_file import LOST, RolloutFile
from rerank_server.supervisor.rundir import RunDir

log = logging.getLogger(__name__)

MIRROR_SHARE = 0.1
"""Of the requests, copied for the guard on rankings where the config has no mirror to its arm."""
START = "start"
_LOOK_EVERY_S = 0.5
_KEEP_EVERY_S = 10.0
"""What a server that is killed has counted in vain, at most."""
_COUNTED = ("advanced", "aborted", "done")


class Rollouts:
    """The one rollout there may be. Belongs to the loop, which has it tend on each turn."""

    def __init__(self, run: RunDir, path: Path, journal: Journal) -> None:
        self._journal = journal
        self._file = RolloutFile(path)
        self._evidence = EvidenceFiles(run.gateway)
        self._kept = self._file.read()
        if self._kept.rollout is not None:
            self._kept = replace(self._kept, rollout=restored(self._kept.rollout))
        self._looked_at = self._kept_at = self._pruned_at = float("-inf")

    @property
    def rollout(self) -> Rollout | None:
        """The last one, if any."""
        return self._kept.rollout

    def tend(self, desired: Desired, fleet: Fleet, now: float) -> None:
        """Take in the config and the evidence, and decide. `now` is monotonic."""
        self._heed(desired)
        if now - self._pruned_at >= PRUNE_EVERY_S:
            self._pruned_at = now
            self._evidence.prune()
        rollout = self.rollout
        if rollout is None or now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        to = rollout.course.to
        version = desired.config.versions.get(to)
        if fleet.default == desired.config.default_version == to:
            self._finish(rollout)
        elif rollout.state is not State.ABORTED and (version is None or not version.enabled):
            self._end(rollout, f"{to} is not enabled any more", desired)
        elif rollout.is_active:
            self._step(rollout, desired, fleet, now)

    def close(self) -> None:
        """Keep what was counted since; to be called last."""
        if self.rollout is not None:
            self._keep(self.rollout)

    def let_go(self) -> None:
        """Leave the shares to the operator, who has spoken since the last one was aborted."""
        if self._kept.over is not None:
            self._kept = replace(self._kept, over=None)
            self._keep(self.rollout)

    def take(
        self, said: Mapping[str, object], actor: str, desired: Desired, fleet: Fleet, now: float
    ) -> str | None:
        """Carry out an order; return why not, if so."""
        action, to = said.get("action"), said.get("to")
        has_options = bool(said.keys() - {"action", "to"})
        wants_resume = means_resume(self.rollout, None if to is None else str(to), has_options)
        try:
            if action == START and not wants_resume:
                fresh = started(self.rollout, asked_course(desired.config, said))
                self._start(fresh, Source.OPERATOR, actor)
            else:
                order = Order.RESUME if action == START else Order(str(action))
                self._obey(order, actor, desired, fleet)
        except UsageError as error:
            return error.message
        except ValueError:
            return f"action: {action!r} is none of {', '.join((START, *Order))}"
        if self.rollout is not None and self.rollout.step == NOT_BEGUN:
            self._looked_at = float("-inf")
            self.tend(desired, fleet, now)
        return None

    # --- what it asks for -----------------------------------------------------------------------

    @property
    def holds(self) -> str | None:
        """Why an operator cannot set shares now; None while no rollout decides any."""
        return holding(self.rollout)

    def arm(self, desired: Desired) -> Arm | None:
        """Return the share that the rollout gives its version; None where it decides nothing.

        What an aborted one led to has nothing, whatever share it had before: until an operator
        speaks or the config has other shares. Nor has one that has not begun.
        """
        rollout = self.rollout
        if rollout is None:
            return None
        if rollout.state is State.ABORTED and self._kept.over != desired.config.traffic:
            return None
        return Arm(rollout.course.to, rollout.share)

    def mirror(self, desired: Desired) -> Mirror | None:
        """Return the mirror: the one that a guard on rankings needs, else the config's."""
        rollout = self.rollout
        if rollout is None or not rollout.is_active or not rollout.share:
            return desired.mirror
        to, is_asked = rollout.course.to, rollout.course.guards.mirror_tau is not None
        is_given = desired.mirror is not None and desired.mirror.to == to
        return Mirror(to, MIRROR_SHARE) if is_asked and not is_given else desired.mirror

    def shown(self, desired: Desired) -> dict[str, object]:
        """Return the object of state.json.

        It has outcomes of all versions: a count must stand at 0 before its first increase.
        """
        rollout, counts = self.rollout, self._kept.counts
        names = dict.fromkeys((*desired.config.versions, *counts))
        return {
            "current": None if rollout is None else {**rollout_shown(rollout), "by": self._kept.by},
            "outcomes": {to: dict.fromkeys(_COUNTED, 0) | dict(counts.get(to, {})) for to in names},
        }

    # --- what is said ---------------------------------------------------------------------------

    def _heed(self, desired: Desired) -> None:
        """Act on the config's section, once whenever it is another one."""
        section, rollout = desired.config.rollout, self.rollout
        digest = digest_of(section)
        if digest == self._kept.section:
            return
        is_lost = self._kept.section == LOST  # it may have failed before: that is not tried again
        self._kept = replace(self._kept, section=digest)
        if is_lost:
            self._keep(rollout)
            return
        if section is not None:
            self._follow(course_of(section))
            return
        self._keep(rollout)
        is_own = rollout is not None and rollout.is_active and self._kept.by is Source.CONFIG
        if rollout is not None and is_own and rollout.course.to != desired.config.default_version:
            self._end(rollout, "its section was taken out of the config", desired)

    def _follow(self, course: Course) -> None:
        """Have the config's rollout under way, from the share its arm has by another one."""
        old = self.rollout
        if old is None or old.state is State.ABORTED or old.course.to != course.to:
            self._start(Rollout(course), Source.CONFIG, "config")
            return
        rollout = redirected(old, course)
        self._kept = replace(self._kept, by=Source.CONFIG)
        self._keep(rollout)
        self._note("changed", rollout, actor="config", steps=list(rollout.course.steps))

    def _start(self, rollout: Rollout, by: Source, actor: str) -> None:
        old = self.rollout
        if old is not None and old.state is not State.ABORTED:
            self._note("superseded", old, actor=actor)
        self._kept = replace(self._kept, by=by)
        self._keep(rollout)
        self._note("started", rollout, actor=actor, steps=list(rollout.course.steps))

    def _obey(self, order: Order, actor: str, desired: Desired, fleet: Fleet) -> None:
        before = self.rollout
        after = obey(before, order, f"asked to by {actor}")
        if after == before:
            return
        if order is Order.PROMOTE:
            presence, absence = _presence(desired, fleet, after.course.to)
            if presence is not Presence.LIVE:
                raise UsageError(f"{after.course.to} does not run: {absence}")
        if after.state is State.ABORTED:
            self._hold(desired)
        is_done = after.state is State.DONE and before is not None and before.is_active
        self._keep(after, "done" if is_done else None)
        self._note(PAST[order], after, actor=actor)

    # --- what it does by itself -----------------------------------------------------------------

    def _step(self, rollout: Rollout, desired: Desired, fleet: Fleet, now: float) -> None:
        news, is_fresh = self._evidence.news(rollout.course.to)
        presence, absence = _presence(desired, fleet, rollout.course.to)
        after, decision = step(rollout, Sight(news, is_fresh, presence, absence), now)
        if decision is not None:
            if after.state is State.ABORTED:
                self._hold(desired)
            self._keep(after, decision.outcome)
            self._tell(after, decision)
            return
        self._kept = replace(self._kept, rollout=after)
        is_judged = after.recent[-1].duration_s < rollout.recent[-1].duration_s
        if is_judged or now - self._kept_at >= _KEEP_EVERY_S:
            self._kept_at = now
            self._keep(after)

    def _tell(self, rollout: Rollout, decision: Decision) -> None:
        self._note(
            decision.outcome,
            rollout,
            before=decision.before,
            why=decision.why,
            figures=figures_shown(decision.figures),
            guards=[finding_json(found) for found in decision.findings],
        )

    def _end(self, rollout: Rollout, why: str, desired: Desired) -> None:
        self._hold(desired)
        self._keep(abort(rollout, why), "aborted")
        self._note("aborted", abort(rollout, why), before=rollout.share, why=why)

    def _finish(self, rollout: Rollout) -> None:
        self._keep(None)
        self._note("finished", rollout, why=f"{rollout.course.to} is the default version now")

    def _hold(self, desired: Desired) -> None:
        """Remember over which shares it ended, for as long as they are to stay without it."""
        self._kept = replace(self._kept, over=dict(desired.config.traffic))

    def _keep(self, rollout: Rollout | None, outcome: str | None = None) -> None:
        kept = replace(self._kept, rollout=rollout)
        if rollout is not None and outcome in _COUNTED:
            kept = replace(kept, counts=kept.counted(rollout.course.to, outcome))
        self._kept = kept
        self._file.write(kept)

    def _note(self, what: str, rollout: Rollout, **fields: object) -> None:
        known = {"version": rollout.course.to, "share": rollout.share, **fields}
        self._journal.note(f"rollout {what}", **known)
        level = logging.WARNING if what == "aborted" else logging.INFO
        told = {"what": what, "why": fields.get("why")}
        log.log(level, "rollout changed", extra={**told, **dict(list(known.items())[:2])})


def _presence(desired: Desired, fleet: Fleet, name: str) -> tuple[Presence, str | None]:
    """Return whether a version can answer now, and why not."""
    version = desired.wanted.versions.get(name)
    if version is None:
        return Presence.DOWN, "it is not in the config"
    why = absence_of(desired.wanted, fleet, version)
    if why is None:
        return Presence.LIVE, None
    failure = fleet.slot(name).failure_of(*version.specs)
    reason = version.problem or (failure.reason if failure is not None else None)
    text = f"{why}: {reason.splitlines()[0]}" if reason else why.value
    return (Presence.STARTING if why is FallbackReason.STARTING else Presence.DOWN), text
