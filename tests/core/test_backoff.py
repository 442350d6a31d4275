from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core.backoff import delay

keys = st.text(max_size=20)
attempts = st.integers(1, 10_000)
bases = st.floats(0.01, 10.0)
caps = st.floats(10.0, 600.0)


def test_the_wait_doubles_from_the_base_to_the_cap() -> None:
    waits = [delay("v1", n, base_s=1.0, cap_s=60.0) for n in range(1, 9)]

    full = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert all(0.75 * f <= wait <= f for wait, f in zip(waits, full, strict=True))


def test_versions_that_failed_together_do_not_come_back_together() -> None:
    waits = {delay(f"v{n}", 3, base_s=1.0, cap_s=60.0) for n in range(1, 21)}

    assert len(waits) == 20


@given(keys, attempts, bases, caps)
def test_jitter_takes_at_most_a_quarter_and_the_cap_holds(
    key: str, attempt: int, base_s: float, cap_s: float
) -> None:
    full = min(cap_s, base_s * 2.0 ** min(attempt - 1, 32))

    wait_s = delay(key, attempt, base_s=base_s, cap_s=cap_s)

    assert 0.75 * full <= wait_s <= full <= cap_s


@given(keys, attempts, bases, caps)
def test_the_same_failure_waits_the_same_time_again(
    key: str, attempt: int, base_s: float, cap_s: float
) -> None:
    first = delay(key, attempt, base_s=base_s, cap_s=cap_s)

    assert delay(key, attempt, base_s=base_s, cap_s=cap_s) == first


@given(keys, st.integers(1, 31), bases)
def test_below_the_cap_each_wait_is_longer_than_the_one_before(
    key: str, attempt: int, base_s: float
) -> None:
    waits = [delay(key, n, base_s=base_s, cap_s=float("inf")) for n in (attempt, attempt + 1)]

    assert waits[0] < waits[1]
