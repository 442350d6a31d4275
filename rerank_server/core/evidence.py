"""What the gateways count of each arm of the traffic, for a rollout to be judged by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rerank_server.core import wire
from rerank_server.core.stats import middle_s, quantile

_SCHEMA = 1
_LOG_GROWTH = math.log(wire.HISTOGRAM_GROWTH)


def _nothing() -> Mapping[int, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the requests that were sent to one arm, or to several."""

    requests: int = 0
    """Answered or failed; those whose client was at fault or hung up are not among them."""
    errors: int = 0
    """Of these failed, or answered by another version."""
    durations: Mapping[int, int] = field(default_factory=_nothing)
    """Time to the answer of the others, by logarithmic bucket."""

    @property
    def answered(self) -> int:
        """How many were answered by the arm itself."""
        return sum(self.durations.values())

    @property
    def p95_s(self) -> float | None:
        """The 95th percentile of the time to the answer; None without answers."""
        return quantile(self.durations, 0.95)

    def slower_than(self, duration_s: float) -> int:
        """Return how many of the answered took longer, as far as buckets tell."""
        return sum(n for index, n in self.durations.items() if middle_s(index) > duration_s)

    def plus(self, other: Tally) -> Tally:
        """Return the sum."""
        return self._combine(other, 1)

    def minus(self, other: Tally) -> Tally:
        """Return what is new since `other`."""
        return self._combine(other, -1)

    def is_after(self, other: Tally) -> bool:
        """Tell whether no count is below that of `other`."""
        return (
            self.requests >= other.requests
            and self.errors >= other.errors
            and all(self.durations.get(index, 0) >= n for index, n in other.durations.items())
        )

    def _combine(self, other: Tally, sign: int) -> Tally:
        keys = sorted(self.durations.keys() | other.durations.keys())
        merged = {k: self.durations.get(k, 0) + sign * other.durations.get(k, 0) for k in keys}
        return Tally(
            self.requests + sign * other.requests,
            self.errors + sign * other.errors,
            MappingProxyType({k: n for k, n in merged.items() if n}),
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """How the rankings of mirrored requests agreed with those that were sent."""

    compared: int = 0
    tau_sum: float = 0.0
    """Of Kendall's tau, over those compared."""
    failed: int = 0
    """Copies that came to nothing."""

    @property
    def mean_tau(self) -> float | None:
        """Mean of Kendall's tau; None without comparisons."""
        return self.tau_sum / self.compared if self.compared else None

    def plus(self, other: Compared) -> Compared:
        """Return the sum."""
        return Compared(
            self.compared + other.compared,
            self.tau_sum + other.tau_sum,
            self.failed + other.failed,
        )

    def minus(self, other: Compared) -> Compared:
        """Return what is new since `other`."""
        return Compared(
            self.compared - other.compared,
            self.tau_sum - other.tau_sum,
            self.failed - other.failed,
        )

    def is_after(self, other: Compared) -> bool:
        """Tell whether no count is below that of `other`."""
        return self.compared >= other.compared and self.failed >= other.failed


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of one arm, beside all others."""

    arm: Tally = Tally()
    others: Tally = Tally()
    mirrored: Compared = Compared()
    """The arm's rankings against the others'."""

    def plus(self, other: Figures) -> Figures:
        """Return the sum."""
        return Figures(
            self.arm.plus(other.arm),
            self.others.plus(other.others),
            self.mirrored.plus(other.mirrored),
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """All that one gateway process counted since it began, or a part of it."""

    arms: Mapping[str, Tally] = field(default_factory=lambda: MappingProxyType({}))
    mirrored: Mapping[tuple[str, str], Compared] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """By the version that answered and the one that scored the copy."""

    def figures(self, arm: str) -> Figures:
        """Return what it says of one arm."""
        return Figures(
            self.arms.get(arm, Tally()),
            total(tally for name, tally in self.arms.items() if name != arm),
            _all(found for (_, to), found in self.mirrored.items() if to == arm),
        )

    def minus(self, other: Counts) -> Counts:
        """Return what is new since `other`; all of it where a count began anew."""
        return Counts(
            {
                name: tally.minus(was) if tally.is_after(was) else tally
                for name, tally in self.arms.items()
                for was in (other.arms.get(name, Tally()),)
            },
            {
                pair: found.minus(was) if found.is_after(was) else found
                for pair, found in self.mirrored.items()
                for was in (other.mirrored.get(pair, Compared()),)
            },
        )


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of tallies."""
    found = Tally()
    for tally in tallies:
        found = found.plus(tally)
    return found


def _all(parts: Iterable[Compared]) -> Compared:
    found = Compared()
    for part in parts:
        found = found.plus(part)
    return found


def bucket_of(duration_s: float) -> int:
    """Return the bucket of a duration; the first and the last one are open-ended."""
    if duration_s <= wire.HISTOGRAM_MIN_S:
        return 0
    index = int(math.log(duration_s / wire.HISTOGRAM_MIN_S) / _LOG_GROWTH)
    return min(index, wire.HISTOGRAM_BUCKETS - 1)


# --- JSON ---------------------------------------------------------------------------------------


def counts_json(counts: Counts, time: float) -> dict[str, object]:
    """Return the object of a gateway's evidence file; `time` is monotonic."""
    mirrored: dict[str, dict[str, object]] = {}
    for (served, to), found in counts.mirrored.items():
        mirrored.setdefault(served, {})[to] = compared_json(found)
    arms = {name: tally_json(tally) for name, tally in counts.arms.items()}
    return {"schema": _SCHEMA, "time": time, "arms": arms, "mirror": mirrored}


def counts_from(obj: Mapping[str, object]) -> tuple[Counts, float]:
    """Read what `counts_json` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not that.
    """
    arms, mirrored = obj["arms"], obj["mirror"]
    if obj["schema"] != _SCHEMA or not (isinstance(arms, dict) and isinstance(mirrored, dict)):
        raise TypeError("not evidence of this release")
    counts = Counts(
        {str(name): tally_from(tally) for name, tally in arms.items()},
        {
            (str(served), str(to)): compared_from(found)
            for served, by_copy in mirrored.items()
            for to, found in by_copy.items()
        },
    )
    return counts, float(str(obj["time"]))


def tally_json(tally: Tally) -> dict[str, object]:
    """Return a JSON object."""
    durations = {str(index): n for index, n in tally.durations.items()}
    return {"requests": tally.requests, "errors": tally.errors, "duration_buckets": durations}


def tally_from(obj: Mapping[str, object]) -> Tally:
    """Read what `tally_json` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not that.
    """
    buckets = obj["duration_buckets"]
    if not isinstance(buckets, dict):
        raise TypeError("duration_buckets: not an object")
    durations = {int(index): int(n) for index, n in buckets.items()}
    return Tally(int(str(obj["requests"])), int(str(obj["errors"])), MappingProxyType(durations))


def compared_json(found: Compared) -> dict[str, object]:
    """Return a JSON object."""
    return {"compared": found.compared, "tau_sum": found.tau_sum, "failed": found.failed}


def compared_from(obj: Mapping[str, object]) -> Compared:
    """Read what `compared_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is not that.
    """
    tau_sum = float(str(obj["tau_sum"]))
    return Compared(int(str(obj["compared"])), tau_sum, int(str(obj["failed"])))
