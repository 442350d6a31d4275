"""Which ends of a process count against its version, and how they are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core import wire
from rerank_server.core.lifecycle import apply, issue
from rerank_server.core.types import Event, Exited, Farewell, Kill, SaidFarewell, SpawnFailed, State
from tests.core.build import fleet, worker
from tests.core.failures import POLICY, failure_of, is_waiting

SEGFAULT = Exited("v1.1", -11, "killed by SIGSEGV: Fatal Python error")


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
@pytest.mark.parametrize(
    "event",
    [
        SEGFAULT,
        Exited("v1.1", wire.EXIT_DONE, "exited with code 0"),
        Exited("v1.1", wire.EXIT_CRASHED, "exited with code 1"),
        Exited("v1.1", wire.EXIT_NO_DEVICE_MEMORY, "exited with code 4"),
        SpawnFailed("v1.1", "/usr/bin/python3: no such file"),
    ],
    ids=["signal", "exit 0", "exit 1", "exit 4", "no spawn"],
)
def test_a_crash_leaves_the_version_in_backoff(state: State, event: Event) -> None:
    after = apply(fleet(worker(state=state)), event, 5.0, POLICY)

    assert after.instances() == ()
    assert is_waiting(after, 5.0)
    assert failure_of(after).attempt == 1


def test_a_crash_is_told_with_what_the_kernel_and_stderr_said() -> None:
    after = apply(fleet(worker()), SEGFAULT, 5.0, POLICY)

    assert failure_of(after).reason == "killed by SIGSEGV: Fatal Python error"


def test_a_process_that_cannot_be_spawned_is_told_as_such() -> None:
    after = apply(fleet(worker(state=State.STARTING)), SpawnFailed("v1.1", "no"), 5.0, POLICY)

    assert failure_of(after).reason == "could not be spawned: no"


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_a_worker_that_would_fail_again_leaves_its_version_failed(state: State) -> None:
    event = Exited("v1.1", wire.EXIT_WOULD_FAIL_AGAIN, "exited with code 3: No module named x")

    after = apply(fleet(worker(state=state)), event, 5.0, POLICY)

    assert failure_of(after).retry_at is None
    assert failure_of(after).reason == "exited with code 3: No module named x"


@pytest.mark.parametrize(("would_fail_again", "is_final"), [(True, True), (False, False)])
def test_a_farewell_is_kept_with_the_last_stderr_lines(
    would_fail_again: bool, is_final: bool
) -> None:
    farewell = Farewell("rerank.py: ValueError: no head", would_fail_again)
    starting = fleet(worker(state=State.STARTING))

    said = apply(starting, SaidFarewell("v1.1", farewell), 4.0, POLICY)
    after = apply(said, Exited("v1.1", 3, "exited with code 3: Traceback"), 5.0, POLICY)

    assert (failure_of(after).retry_at is None) is is_final
    assert failure_of(after).reason == (
        "rerank.py: ValueError: no head\nexited with code 3: Traceback"
    )


def test_a_farewell_outranks_the_kill_that_came_after_it() -> None:
    farewell = Farewell("no module named x", would_fail_again=True)
    doomed = replace(worker(state=State.STOPPING), doom="not ready within 30 s", farewell=farewell)

    after = apply(fleet(doomed), Exited("v1.1", -9, "killed by SIGKILL"), 5.0, POLICY)

    assert failure_of(after).retry_at is None
    assert failure_of(after).reason == "no module named x\nkilled by SIGKILL"


@pytest.mark.parametrize("doom", ["hung: no sign of life for 5 s", "not ready within 30 s"])
def test_a_start_deadline_or_a_hang_leaves_the_version_in_backoff(doom: str) -> None:
    doomed = issue(fleet(worker()), Kill("v1.1", doom, is_failure=True), 4.0)

    after = apply(doomed, Exited("v1.1", -9, "killed by SIGKILL"), 5.0, POLICY)

    assert is_waiting(after, 5.0)
    assert failure_of(after).reason == f"{doom}\nkilled by SIGKILL"


@pytest.mark.parametrize("state", [State.DRAINING, State.STOPPING])
@pytest.mark.parametrize("code", [0, 1, wire.EXIT_WOULD_FAIL_AGAIN, -9])
def test_a_stopping_process_that_is_gone_is_gone_without_a_trace(state: State, code: int) -> None:
    farewell = Farewell("lost my mind", would_fail_again=True)
    stopping = replace(worker(state=state), farewell=farewell)

    after = apply(fleet(stopping), Exited("v1.1", code, "whatever"), 5.0, POLICY)

    assert after.instances() == ()
    assert after.slot("v1").failure is None


def test_a_kill_that_is_nobodys_fault_is_not_counted() -> None:
    told = issue(fleet(worker()), Kill("v1.1", "no longer wanted", is_failure=False), 4.0)

    after = apply(told, Exited("v1.1", -9, "killed by SIGKILL"), 5.0, POLICY)

    assert after.slot("v1").failure is None
