"""Where a request walks: the version chosen, and who stands in for it."""

from __future__ import annotations

from collections.abc import Iterator

from rerank_server.core.routing import (
    Candidate,
    Choice,
    FallbackReason,
    RoutesTable,
    absence,
    candidates,
    is_served,
)


def stops(table: RoutesTable, choice: Choice) -> Iterator[Candidate]:
    """Yield the live instances that may answer a request, best first, each once.

    Whoever the split sent to an arm has named nobody, and must not suffer for it: the default's
    walk follows the arm's own, even where that is to have no fallback, and takes its place
    while the arm has no instance.
    """
    starts: tuple[str, ...] = (choice.version,)
    if choice.arm is not None:
        starts = (table.default,) if away(table, choice) else (choice.version, table.default)
    seen: set[str] = set()
    for start in starts:
        if start not in table.versions:
            continue
        for candidate in candidates(table, start):
            if candidate.target.instance not in seen:
                seen.add(candidate.target.instance)
                yield candidate


def away(table: RoutesTable, choice: Choice) -> FallbackReason | None:
    """Return why the chosen version itself cannot answer; None while it can."""
    route = table.versions.get(choice.version)
    if route is None:
        return FallbackReason.DISABLED
    return None if is_served(table, route.name) else route.absent or FallbackReason.LOST


def why(
    table: RoutesTable, choice: Choice, served: str, refusal: FallbackReason | None
) -> tuple[str, FallbackReason] | None:
    """Return who was asked for and why `served` answers instead; None when it was asked for.

    `refusal` is why the chosen version would not answer, where it was asked.
    """
    if served == choice.version:
        return None if choice.reason is None else (choice.asked, choice.reason)
    if choice.arm is not None:
        return choice.arm, away(table, choice) or refusal or FallbackReason.LOST
    return choice.asked, absence(table, choice) or refusal or FallbackReason.LOST
