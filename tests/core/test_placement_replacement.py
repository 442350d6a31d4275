"""Replacements and reloads of what is on a card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.lifecycle import apply, issue
from rerank_server.core.plan import plan
from rerank_server.core.reconcile import reconcile
from rerank_server.core.types import Drain, Exited, Fleet, Start
from rerank_server.core.wanted import Replace, Wanted
from tests.core.build import wanted
from tests.core.cards import FALLS, PATIENT, card, decide, look, running, seeing, where, wishing

# --- replacement on a card ----------------------------------------------------------------------


def changed(mode: Replace, *, fallback: bool = False, threshold: int = 0) -> Wanted:
    return wanted(wishing(files="b", mode=mode, fallback=fallback, threshold=threshold))


def test_a_replacement_starts_beside_the_old_process_where_both_fit() -> None:
    known = running(wanted(wishing()), seeing(Fleet(), look(card(free=8000))))
    known = seeing(known, look(card(free=2000), at=5.0))

    asked, known = decide(changed("auto"), known, 5.0)
    actions = reconcile(asked, known, 5.0, PATIENT)

    assert [type(a) for a in actions] == [Start]


def test_a_replacement_on_a_full_card_stops_the_old_process_first_and_is_not_moved() -> None:
    known = running(wanted(wishing(**FALLS)), seeing(Fleet(), look(card(free=3500))))
    known = seeing(known, look(card(free=1500), at=5.0))
    asked_for = changed("auto", **FALLS)

    asked, known = decide(asked_for, known, 5.0)
    assert reconcile(asked, known, 5.0, PATIENT) == [Drain("v1.1", "replaced")]

    known = issue(known, Drain("v1.1", "replaced"), 5.0)
    assert where(decide(asked_for, known, 6.0)[0], "v1") == ["cuda:0!"]
    known = apply(known, Exited("v1.1", 0, "done"), 6.0, PATIENT)
    for at in (6.5, 7.0):  # the driver has not returned the memory yet
        known = seeing(known, look(card(free=1500), at=at))
        asked, known = decide(asked_for, known, at)
        assert where(asked, "v1") == ["cuda:0!"]
        assert reconcile(asked, known, at, PATIENT) == []
    known = seeing(known, look(card(free=3500), at=7.6))
    asked, known = decide(asked_for, known, 7.6)

    assert reconcile(asked, known, 7.6, PATIENT) == [Start("v1.2", asked.specs("v1")[0])]
    assert asked.versions["v1"].degraded is None


def test_a_replacement_that_insists_on_overlap_says_what_it_lacks() -> None:
    known = running(wanted(wishing()), seeing(Fleet(), look(card(free=3000))))
    known = seeing(known, look(card(free=1000), at=5.0))

    asked, known = decide(changed("overlap"), known, 5.0)

    assert reconcile(asked, known, 5.0, PATIENT) == []
    assert asked.versions["v1"].problem == (
        "gpu 0 has 1000 MB free, needs 2000 beside the process it replaces; set replace: stop_first"
    )


def test_memory_taken_by_others_meanwhile_sends_a_restart_to_the_cpu() -> None:
    alone = wanted(wishing(**FALLS))
    known = running(alone, seeing(Fleet(), look(card(free=8000))))
    known = apply(known, Exited("v1.1", -11, "killed"), 2.0, PATIENT)
    known = seeing(known, look(card(free=3000), at=9.0))

    asked, _ = decide(alone, known, 9.0)

    assert where(asked, "v1") == ["cpu"]


# --- reloads ------------------------------------------------------------------------------------


def test_a_plan_keeps_a_version_whose_place_does_not_change() -> None:
    known = running(wanted(wishing()), seeing(Fleet(), look(card(free=8000))))

    found = plan(wanted(wishing(), wishing("v2")), known)

    assert (found.kept, found.started) == (("v1",), ("v2",))


@pytest.mark.parametrize(
    ("before", "after"), [("auto", "cpu"), ("cpu", "auto"), ("cpu", "cuda:0"), ("cuda:0", "cpu")]
)
def test_another_device_in_the_config_is_a_replacement(before: str, after: str) -> None:
    known = running(wanted(wishing(device=before)), seeing(Fleet(), look(card(free=8000))))
    new = wanted(wishing(device=after))

    assert plan(new, known).started == ("v1",)
    known = seeing(known, look(card(free=8000), at=4.0))
    asked, known = decide(new, known, 4.0)

    assert where(asked, "v1") == [{"cpu": "cpu"}.get(after, "cuda:0")]
    assert [type(a) for a in reconcile(asked, known, 4.0, PATIENT)] == [Start]


def test_a_version_whose_files_are_gone_keeps_its_place() -> None:
    known = running(wanted(wishing()), seeing(Fleet(), look(card(free=8000))))
    broken = replace(wishing(), spec=None, problem="no model files")

    asked, after = decide(wanted(broken), known, 3.0)

    assert asked.versions["v1"].problem == "no model files"
    assert after.devices.placement("v1").seats == known.devices.placement("v1").seats
