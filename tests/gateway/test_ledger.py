"""The record of deaths that all gateway processes share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from rerank_server.gateway.ledger import QUARANTINE_S, LossLedger, digest_of

KILLER = digest_of(b"killer")


@dataclass(slots=True)
class Clock:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_new_ledger_is_empty(tmp_path: Path) -> None:
    ledger = LossLedger(tmp_path)

    assert ledger.is_empty()
    assert ledger.deaths(KILLER) == 0


def test_another_process_sees_a_death_at_once_and_a_later_one_inherits_it(tmp_path: Path) -> None:
    one, other = LossLedger(tmp_path), LossLedger(tmp_path)

    assert one.record(KILLER, "v1.1") == 1
    assert other.deaths(KILLER) == 1
    assert other.record(KILLER, "v1.2") == 2
    assert one.deaths(KILLER) == 2
    assert LossLedger(tmp_path).deaths(KILLER) == 2


def test_the_same_worker_dies_once(tmp_path: Path) -> None:
    ledger = LossLedger(tmp_path)

    ledger.record(KILLER, "v1.1")

    assert ledger.record(KILLER, "v1.1") == 1


def test_a_cleared_text_is_forgotten_by_all(tmp_path: Path) -> None:
    one, other = LossLedger(tmp_path), LossLedger(tmp_path)
    one.record(KILLER, "v1.1")

    other.clear(KILLER)
    other.clear(KILLER)

    assert one.is_empty()


def test_a_cleared_text_stays_known_for_ten_minutes(tmp_path: Path) -> None:
    clock = Clock()
    one, other = LossLedger(tmp_path, clock), LossLedger(tmp_path, clock)
    one.record(KILLER, "v1.1")
    other.clear(KILLER)

    assert one.has_seen(b"killer")
    assert not one.has_seen(b"another")
    assert one.deaths(KILLER) == 0
    assert one.record(KILLER, "v1.2") == 1
    clock.now += QUARANTINE_S + 1
    assert not one.has_seen(b"killer")


def test_deaths_are_forgotten_after_ten_minutes(tmp_path: Path) -> None:
    clock = Clock()
    ledger = LossLedger(tmp_path, clock)
    ledger.record(KILLER, "v1.1")

    clock.now += QUARANTINE_S - 1
    assert ledger.deaths(KILLER) == 1
    clock.now += 2
    assert ledger.deaths(KILLER) == 0
    assert ledger.record(KILLER, "v1.2") == 1


def test_deaths_from_another_boot_are_not_believed(tmp_path: Path) -> None:
    LossLedger(tmp_path, Clock(now=1_000_000.0)).record(KILLER, "v1.1")

    ledger = LossLedger(tmp_path, Clock(now=10.0))

    assert ledger.deaths(KILLER) == 0


def test_the_ledger_is_bounded_and_forgets_the_oldest(tmp_path: Path) -> None:
    ledger = LossLedger(tmp_path)

    for number in range(1030):
        ledger.record(f"{number:032x}", "v1.1")

    assert ledger.deaths(f"{5:032x}") == 0
    assert ledger.deaths(f"{6:032x}") == 1
    assert (tmp_path / "losses.json").stat().st_size < 100_000


@pytest.mark.parametrize("content", [b"", b"garbage", b"[1]", b'{"a":1}', b'{"a":["x"]}'])
def test_a_broken_file_counts_as_empty_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "losses.json").write_bytes(content)
    ledger = LossLedger(tmp_path)

    assert ledger.is_empty()
    assert ledger.record(KILLER, "v1.1") == 1
    assert ledger.deaths(KILLER) == 1


def test_a_file_that_was_removed_is_made_again(tmp_path: Path) -> None:
    ledger = LossLedger(tmp_path)
    (tmp_path / "losses.json").unlink()

    ledger.record(KILLER, "v1.1")

    assert ledger.deaths(KILLER) == 1


def test_a_death_that_cannot_be_written_is_remembered_by_who_saw_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = LossLedger(tmp_path)
    ledger.record(KILLER, "v1.1")
    (tmp_path / "losses.tmp").mkdir()  # fails as a full disk does

    assert ledger.record(KILLER, "v1.2") == 2
    assert ledger.deaths(KILLER) == 2
    ledger.clear(KILLER)
    assert ledger.is_empty()
    assert caplog.messages == ["deaths cannot be written; only this process knows of them"] * 2
