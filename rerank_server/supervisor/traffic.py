"""Who gets which share of the traffic now: a rollout, else the operator, else the config."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rerank_server.core.traffic import Arm, Source, Traffic, guided, in_place
from rerank_server.errors import RunDirError
from rerank_server.supervisor.desired import Desired
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.requests import Outcome, Request, Verdict, answer, pending
from rerank_server.supervisor.rundir import RunDir, read_json, write_json
from rerank_server.supervisor.traffic_by_hand import refusal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Word:
    """What an operator said of the shares, and over which ones of the config."""

    shares: Mapping[str, float]
    config: Mapping[str, float]
    actor: str
    time: float
    """Wall clock, seconds."""

    def is_over(self, shares: Mapping[str, float]) -> bool:
        """Tell whether the config still says what it did; the order of arms counts."""
        return list(self.config.items()) == list(shares.items())

    def json(self) -> dict[str, object]:
        """Return the object of traffic.json."""
        shares, config = dict(self.shares), dict(self.config)
        said = {"shares": shares, "config": config, "actor": self.actor, "time": self.time}
        return {"schema": 1, **said}

    @classmethod
    def of(cls, value: Mapping[str, object]) -> Self:
        """Read what `json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is not that.
        """
        shares, config = _shares(value["shares"]), _shares(value["config"])
        return cls(shares, config, str(value["actor"]), float(str(value["time"])))


class TrafficDesk:
    """Keeps the operator's word on the shares, over restarts too, and answers who gives it.

    Belongs to the loop, which on each turn has it hear, then publishes, then has it settle.
    Nothing here starts or stops a process.
    """

    def __init__(self, run: RunDir, path: Path, journal: Journal) -> None:
        self._run = run
        self._path = path
        self._journal = journal
        self._word = self._read()
        self._noted = Traffic()
        self._actor: str | None = None
        self._outcomes: list[Outcome] = []

    def hear(self, desired: Desired, rollout: str | None = None) -> bool:
        """Take in what was asked since; tell whether any of it is in force now.

        `rollout` says why one leaves operators none to set.
        """
        is_news = False
        if self._word is not None and not self._word.is_over(desired.config.traffic):
            self._drop(self._word)
        answered = {outcome.id for outcome in self._outcomes}
        for request in pending(self._run, desired.wanted.generation):
            if request.verb == "traffic" and request.id not in answered:
                error = self._take(request, desired, rollout)
                is_news |= error is None
                verdict: Verdict = "applied" if error is None else "refused"
                generation = desired.wanted.generation
                self._outcomes.append(Outcome(request.id, verdict, generation, error=error))
        return is_news

    def effective(self, desired: Desired, rollout: Arm | None = None) -> Traffic:
        """Return the shares to route by; `rollout` is what one under way gives its version."""
        traffic = desired.traffic
        if self._word is not None:
            versions = desired.config.versions
            arms = (
                Arm(name, share)
                for name, share in self._word.shares.items()
                if name != desired.config.default_version
                and name in versions
                and versions[name].enabled
            )
            traffic = Traffic(tuple(arms), Source.OPERATOR)
        return guided(traffic, rollout)

    def settle(self, traffic: Traffic, actor: str) -> None:
        """Answer what was asked, once this traffic is published; note it where it is new."""
        noted, actor = self._noted, self._actor or actor
        self._noted, self._actor = traffic, None
        if traffic != noted and (traffic.arms or noted.arms):
            told = {"shares": {arm.version: arm.share for arm in traffic.arms}}
            self._journal.note("traffic changed", **told, source=traffic.source, actor=actor)
            log.info("traffic changed", extra={**told, "source": traffic.source.value})
        while self._outcomes:
            answer(self._run, self._outcomes[0])
            del self._outcomes[0]

    def _take(self, request: Request, desired: Desired, rollout: str | None) -> str | None:
        """Act on a request; return why not, if so."""
        said, config = request.said.get("shares"), desired.config
        try:
            shares = None if said is None else _shares(said)
        except (TypeError, ValueError) as error:
            return f"shares: {error}"
        why = refusal(shares, config, rollout)
        if why is not None:
            return why
        word = None
        if shares is not None:
            arms = [arm.version for arm in self.effective(desired).arms]
            kept = in_place(shares, arms)
            word = Word(kept, config.traffic, request.actor, time.time())
        try:
            self._keep(word)
        except OSError as error:
            return f"{self._path}: cannot be written: {error.strerror}"
        self._word, self._actor = word, request.actor
        return None

    def _drop(self, word: Word) -> None:
        self._word = None
        why = "the config's traffic changed"
        self._journal.note("operator's traffic dropped", shares=dict(word.shares), reason=why)
        log.warning("operator's traffic dropped", extra={"shares": dict(word.shares)})
        try:
            self._keep(None)
        except OSError as error:  # it is dropped again at the next start: the config has changed
            log.warning("cannot be removed", extra={"path": str(self._path), "problem": str(error)})

    def _keep(self, word: Word | None) -> None:
        if word is None:
            self._path.unlink(missing_ok=True)
        else:
            write_json(self._path, word.json())

    def _read(self) -> Word | None:
        try:
            found = read_json(self._path)
            return None if found is None else Word.of(found)
        except (RunDirError, KeyError, TypeError, ValueError) as error:
            log.warning("operator's traffic is forgotten", extra={"problem": str(error)})
            return None


def _shares(value: object) -> Mapping[str, float]:
    """Read shares by version.

    Raises:
        TypeError, ValueError: they are none.
    """
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return {str(name): float(str(share)) for name, share in value.items()}
