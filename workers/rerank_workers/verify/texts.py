"""The fixed requests a version is verified on: short, long, empty, CJK, mixed scripts."""

from __future__ import annotations

from dataclasses import dataclass

from rerank_workers.probe import PROBE_DOCS, PROBE_QUERY


@dataclass(frozen=True, slots=True)
class Fixed:
    """One request."""

    query: str
    docs: tuple[str, ...]
    right: int | None = None
    """The document that answers it, where one does."""
    is_judged: bool = False
    """Whether any useful model must find it; a model of one language need not know another."""


_FILLER = (
    "The timetable was printed anew each spring, and travellers were asked to be at the station "
    "in good time. "
)

REQUESTS = (
    Fixed(PROBE_QUERY, (*PROBE_DOCS, "", " "), right=0, is_judged=True),
    Fixed(
        "How long do you boil an egg until the yolk is hard?",
        (
            "The train to the coast leaves every hour from platform four.",
            "Egg timers were once filled with sand.",
            "Boil the egg for ten to twelve minutes; then the yolk is hard.",
            "Jet engines burn kerosene 🛩 1952 — 北京.",
        ),
        right=2,
        is_judged=True,
    ),
    Fixed(
        "What is the capital of France?",
        (
            "Berlin is the capital of Germany.",
            "Paris is the capital of France. " + _FILLER * 40,
            "Wine is made from grapes.",
        ),
        right=1,
        is_judged=True,
    ),
    Fixed(
        "第一架商用喷气客机是哪家公司制造的?",
        (
            "面团放进烤箱之前应该静置一小时。",
            "世界上第一架商用喷气客机是德哈维兰公司制造的彗星型客机。",
            "波音707于1958年投入运营。",
        ),
        right=1,
    ),
    Fixed("?", ("", "?")),
)
