"""Which engine is used, and that it stays the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rerank_workers.engines.choice import Choice, choose, conditions, processor

CANDIDATES = ("float32", "bfloat16")


class Timing:
    """Gives the same seconds each time, and counts how often it was asked."""

    def __init__(self, exact: float, half: float) -> None:
        self._seconds = dict(zip(CANDIDATES, (exact, half), strict=True))
        self.asked = 0

    def __call__(self) -> Mapping[str, float]:
        self.asked += 1
        return self._seconds


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


def held_for(weights: Path, torch: str = "2.13", threads: int = 2) -> Mapping[str, object]:
    return conditions([weights], {"torch": torch}, threads, CANDIDATES)


@pytest.mark.parametrize(
    ("exact", "half", "winner"),
    [(2.0, 1.0, "bfloat16"), (1.0, 1.0, "bfloat16"), (1.0, 1.001, "float32")],
)
def test_half_precision_wins_where_it_is_not_slower(
    weights: Path, tmp_path: Path, exact: float, half: float, winner: str
) -> None:
    store = tmp_path / "state" / "engines" / "v1.json"

    choice = choose(store, held_for(weights), CANDIDATES, Timing(exact, half))

    assert choice.winner == winner


def test_a_restart_keeps_the_choice_without_measuring(weights: Path, tmp_path: Path) -> None:
    store = tmp_path / "v1.json"
    first = choose(store, held_for(weights), CANDIDATES, Timing(2.0, 1.0))
    other_day = Timing(1.0, 2.0)

    again = choose(store, held_for(weights), CANDIDATES, other_day)

    assert again == first
    assert other_day.asked == 0


def rewrite(weights: Path) -> Mapping[str, object]:
    weights.write_bytes(b"other weights")
    return held_for(weights)


@pytest.mark.parametrize(
    "changed",
    [
        rewrite,
        lambda weights: held_for(weights, torch="2.14"),
        lambda weights: held_for(weights, threads=4),
    ],
    ids=["files", "library", "threads"],
)
def test_what_the_choice_depends_on_renews_it(
    weights: Path, tmp_path: Path, changed: Callable[[Path], Mapping[str, object]]
) -> None:
    store = tmp_path / "v1.json"
    choose(store, held_for(weights), CANDIDATES, Timing(2.0, 1.0))

    choice = choose(store, changed(weights), CANDIDATES, Timing(1.0, 2.0))

    assert choice.winner == "float32"


def test_without_a_store_the_exact_one_is_taken_unmeasured(weights: Path) -> None:
    timing = Timing(2.0, 1.0)

    choice = choose(None, held_for(weights), CANDIDATES, timing)

    assert choice == Choice("float32", {})
    assert timing.asked == 0


@pytest.mark.parametrize("content", ["", "[]", "{", '{"winner": "bfloat16"}'])
def test_a_damaged_store_is_written_anew(weights: Path, tmp_path: Path, content: str) -> None:
    store = tmp_path / "v1.json"
    store.write_text(content)

    choice = choose(store, held_for(weights), CANDIDATES, Timing(2.0, 1.0))

    assert choice.winner == "bfloat16"
    assert json.loads(store.read_text())["winner"] == "bfloat16"


def test_a_store_that_cannot_be_written_stops_nothing(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("a file where a directory is wanted")

    choice = choose(
        tmp_path / "engines" / "v1.json", held_for(weights), CANDIDATES, Timing(2.0, 1.0)
    )

    assert choice.winner == "bfloat16"


@pytest.mark.parametrize(
    ("flags", "has_half"),
    [("fpu avx512f amx_bf16", True), ("avx512_bf16", True), ("avx512f avx512_vnni", False)],
)
def test_half_precision_is_what_the_flags_say(tmp_path: Path, flags: str, has_half: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: A CPU\nflags\t\t: {flags}\n")

    found = processor(cpuinfo)

    assert found.model == "A CPU"
    assert found.has_half is has_half


def test_a_machine_without_cpuinfo_has_no_half_precision(tmp_path: Path) -> None:
    assert not processor(tmp_path / "absent").has_half
