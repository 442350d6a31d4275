"""Which failures of its requests an arm answers for, from the client's request on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.evidence import Tally
from rerank_server.core.limits import Limits, VersionLimits
from rerank_server.core.routing import FallbackReason, RoutesTable, VersionRoute
from rerank_server.core.traffic import Arm, Stage, Traffic
from rerank_server.gateway.upstream import Lost, Refused
from tests.gateway.fakes import failure, route, scores, table
from tests.gateway.harness import JSON, Gateway

BODY = {"query": "q", "docs": ["aa", "b"]}
NONE, FAILED = Tally(), Tally(1, 1)


def split(
    v2: VersionRoute | None = None, share: float = 100.0, limits: VersionLimits | None = None
) -> RoutesTable:
    """Return a table where v2 has a share; `limits` are those of the default."""
    default = replace(route("v1", "v1.1", "v1.2"), limits=limits or VersionLimits())
    arm = v2 or route("v2", "v2.1", "v2.2", fallback=["v1"])
    fleet = table(default, arm, route("v3", "v3.1", "v3.2"))
    return replace(fleet, traffic=Traffic((Arm("v2", share),)))


def blamed(gateway: Gateway, arm: str = "v2") -> Tally:
    """Return what an arm answers for, the times left out."""
    found = gateway.evidence.counts().arms.get(arm, Tally())
    return Tally(found.requests, found.errors)


SMALL = VersionLimits(max_docs=1)
SHORT = VersionLimits(max_doc_chars=1)
TIGHT = VersionLimits(max_body_bytes=20)


@pytest.mark.parametrize("own", [SMALL, SHORT, TIGHT])
def test_what_the_arm_is_too_small_for_is_its_failure_unless_the_default_is_too(
    gateway: Gateway, own: VersionLimits
) -> None:
    v2 = replace(route("v2", "v2.1"), limits=own)
    gateway.show(split(v2, limits=own))
    assert gateway.post(body=BODY).status_code == 413
    assert blamed(gateway) == NONE

    gateway.show(split(v2))
    assert gateway.post(body=BODY).status_code == 413
    assert blamed(gateway) == FAILED


def test_a_refusal_in_another_dialect_is_as_much_the_arm_s_failure(gateway: Gateway) -> None:
    gateway.show(split(replace(route("v2", "v2.1"), limits=SMALL)))

    answer = gateway.post(body={"query": "q", "texts": ["aa", "b"]})

    assert answer.status_code == 422
    assert blamed(gateway) == FAILED


def test_what_the_default_refuses_says_nothing_of_the_default(gateway: Gateway) -> None:
    gateway.show(split(share=0.0, limits=SMALL))

    assert gateway.post(body=BODY).status_code == 413
    assert blamed(gateway, "v1") == NONE


def test_documents_longer_than_the_arm_takes_are_its_failure(gateway: Gateway) -> None:
    gateway.show(split())
    gateway.workers.behaviours = {"v2.1": scores([1.0, 2.0], truncated=[0])}

    answer = gateway.post(body={"query": "q", "texts": ["aa", "b"], "truncate": False})

    assert answer.status_code == 422
    assert blamed(gateway) == FAILED


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"query": "q"}, {}),
        ({"query": "q", "docs": ["a"] * 101}, {}),  # more than the server takes from anybody
        (BODY, {"x-request-timeout": "soon"}),
    ],
)
def test_a_request_that_is_not_valid_says_nothing_of_an_arm(
    gateway: Gateway, body: object, headers: dict[str, str]
) -> None:
    gateway.show(split())

    assert gateway.post(body=body, headers=JSON | headers).status_code in (400, 413)
    assert blamed(gateway) == NONE


@pytest.mark.parametrize(
    "full", [Limits(max_concurrent_requests=0), Limits(max_queued_pairs=1), Limits()]
)
def test_what_a_full_server_refuses_is_no_failure_of_the_arm(
    gateway: Gateway, full: Limits
) -> None:
    is_full = full != Limits()
    gateway.show(replace(split(), limits=full))

    assert gateway.post(body=BODY).status_code == (429 if is_full else 200)
    assert blamed(gateway) == (NONE if is_full else Tally(1, 0))


@pytest.mark.parametrize(
    "own", [VersionLimits(max_concurrent_requests=0), VersionLimits(max_in_flight_bytes=1)]
)
@pytest.mark.parametrize("server", [Limits(), Limits(max_concurrent_requests=0)])
def test_an_arm_that_is_full_itself_answers_for_what_it_refuses(
    gateway: Gateway, own: VersionLimits, server: Limits
) -> None:
    full = replace(route("v2", "v2.1"), limits=own)
    gateway.show(replace(split(full), limits=server))

    assert gateway.post(body=BODY).status_code == 429
    assert blamed(gateway) == FAILED


# --- lost workers -------------------------------------------------------------------------------


def test_a_text_that_killed_the_workers_of_others_is_no_failure_of_the_arm(
    gateway: Gateway,
) -> None:
    gateway.show(split())
    gateway.workers.behaviours = {"v3.1": Lost(), "v3.2": Lost()}
    assert gateway.post("/rerank/v3", BODY).status_code == 502

    assert gateway.post(body=BODY).status_code == 502

    assert gateway.workers.visits == ["v3.1", "v3.2!"]
    assert blamed(gateway) == NONE


def test_an_arm_answers_for_its_own_dead_once_and_not_for_the_text_s_refusal_later(
    gateway: Gateway,
) -> None:
    gateway.show(split())
    gateway.workers.behaviours = {"v2.1": Lost(), "v2.2": Lost()}

    assert [gateway.post(body=BODY).status_code for _ in range(3)] == [502] * 3

    assert blamed(gateway) == FAILED


def test_an_arm_that_never_got_the_text_does_not_answer_for_the_default_s_dead(
    gateway: Gateway,
) -> None:
    gateway.show(split(route("v2", "v2.1", fallback=["v1"])))
    gone = Refused(FallbackReason.DRAINING)
    gateway.workers.behaviours = {"v2.1": gone, "v1.1": Lost(), "v1.2": Lost()}

    assert gateway.post(body=BODY).status_code == 502
    assert blamed(gateway) == NONE


def test_an_arm_answers_for_a_death_it_shares_with_the_default(gateway: Gateway) -> None:
    gateway.show(split(route("v2", "v2.1", fallback=["v1"])))
    gateway.workers.behaviours = {"v2.1": Lost(), "v1.1": Lost()}

    assert gateway.post(body=BODY).status_code == 502
    assert blamed(gateway) == FAILED


def test_a_cascade_answers_for_the_dead_of_its_stages(gateway: Gateway) -> None:
    stages = (Stage("v3", 1), Stage("v1"))
    gateway.show(split(replace(route("v2"), cascade=stages, absent=None)))
    gateway.workers.behaviours = {"v3.1": Lost(), "v3.2": Lost()}

    assert gateway.post(body=BODY).status_code == 502
    assert blamed(gateway) == FAILED


# --- deadlines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "tally"), [("0.05", NONE), ("10", FAILED), (None, FAILED)])
def test_a_deadline_is_the_arm_s_failure_unless_its_client_was_too_hasty_for_the_others(
    gateway: Gateway, asked: str | None, tally: Tally
) -> None:
    too_late = failure(504, "deadline_exceeded")
    gateway.workers.behaviours = dict.fromkeys(("v1.1", "v1.2", "v2.1"), too_late)
    sent = JSON if asked is None else {**JSON, "x-request-timeout": asked}
    for share in (0.0, 100.0):
        gateway.show(split(share=share))

        assert gateway.post(body=BODY, headers=sent).status_code == 504

    assert blamed(gateway) == tally
