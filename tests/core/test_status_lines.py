"""What `status` prints of a state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerank_server.core import snapshot, status
from tests.core.state_json import STARTED_AT, TIME, arms, instance, seed, state, version, view

GOLDEN = Path(__file__).parent / "golden"


def test_a_running_server_prints_the_lines_of_the_requirement() -> None:
    assert status.lines(snapshot.read(seed())) == [
        "v2-m3: RUNNING (PID: 1234, GPU: 0)",
        "v2-gemma: RUNNING (PID: 1235, GPU: 0)",
        "v1: RUNNING (PID: 1236, CPU)",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (version("v2-gemma", "DISABLED", enabled=False), "v2-gemma: DISABLED"),
        (
            version("v1", "STARTING", instance("v1", 1, 9, "STARTING", age_s=12.9)),
            "v1: STARTING (PID: 9, 12 s)",
        ),
        (
            version("v1", "STARTING", instance("v1", 1, None, "STARTING", age_s=0.0)),
            "v1: STARTING (PID: -, 0 s)",
        ),
        (version("v1", "STARTING"), "v1: STARTING (waiting for its turn)"),
        (
            version("v1", "BACKOFF", attempt=2, retry_in_s=2.1, reason="exit code 1\nTraceback"),
            "v1: BACKOFF (restart 2 in 3 s: exit code 1)",
        ),
        (
            version("v1", "BACKOFF", attempt=1),
            "v1: BACKOFF (restart 1 in 0 s: no reason known)",
        ),
        (
            version("v1", "DRAINING", instance("v1", 1, 7, "DRAINING", in_flight=3)),
            "v1: DRAINING (PID: 7, 3 in flight)",
        ),
        (version("v1", "STOPPING", instance("v1", 1, 7, "STOPPING")), "v1: STOPPING (PID: 7)"),
        (
            version("v1", "FAILED", reason="no model files; run: rerank-server pull v1"),
            "v1: FAILED (no model files; run: rerank-server pull v1)",
        ),
        (
            version(
                "v2-m3",
                "RUNNING",
                instance("v2-m3", 1, 1234, device="cuda:1"),
                instance("v2-m3", 2, 9, "STARTING", replacing=True),
            ),
            "v2-m3: RUNNING (PID: 1234, GPU: 1, replacing: PID 9 STARTING)",
        ),
        (
            version(
                "v2-m3",
                "RUNNING",
                instance("v2-m3", 1, 1234, device="cuda"),
                instance("v2-m3", 2, None, "STARTING", replacing=True),
            ),
            "v2-m3: RUNNING (PID: 1234, GPU: 0, replacing: PID - STARTING)",
        ),
        (
            version(
                "v1", "RUNNING", instance("v1", 1, 7, "DRAINING"), instance("v1", 2, 8, "RUNNING")
            ),
            "v1: RUNNING (PID: 8, CPU)",
        ),
        (
            version("v1", "RUNNING", instance("v1", 1, 7), instance("v1", 2, 8)),
            "v1: RUNNING (PID: 8, CPU)",
        ),
        (version("v1", "RUNNING"), "v1: RUNNING"),
        (version("v1", "SOMETHING_NEW"), "v1: SOMETHING_NEW"),
    ],
)
def test_each_state_has_its_line(value: dict[str, object], expected: str) -> None:
    assert status.line(view(value)) == expected


def test_verbose_shows_each_version_aligned_below_its_line() -> None:
    failed = version(
        "v1-old", "FAILED", reason="import failed\nModuleNotFoundError: x", restarts=5, source="v1"
    )
    value = seed()
    versions = value["versions"]
    assert isinstance(versions, list)
    versions.append(failed)

    text = "\n".join(status.verbose(snapshot.read(value), STARTED_AT + 7 * 3600 + 90))

    assert text + "\n" == (GOLDEN / "status_verbose.txt").read_text()


def test_a_split_of_the_traffic_has_a_line_of_its_own() -> None:
    split = snapshot.read(state(traffic=arms("operator", v2_gemma=5.0, v1=33.3)))

    expected = "traffic: v2-gemma 5%, v1 33.3%, v2-m3 61.7% (operator)"
    assert status.lines(split) == [expected]
    assert expected in status.verbose(split, TIME)


def test_the_state_of_a_server_that_knew_no_split_has_no_such_line() -> None:
    older = {key: value for key, value in seed().items() if key != "traffic"}

    assert len(status.lines(snapshot.read(older))) == 3


def test_json_keeps_its_schema() -> None:
    value = status.to_json(snapshot.read(seed()))

    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    assert text == (GOLDEN / "status.json").read_text()


@pytest.mark.parametrize(
    ("value", "now", "expected"),
    [
        (seed(), TIME + 10, []),
        (seed(), TIME + 75, ["the server last gave news 1 min 15 s ago; it may hang"]),
        (state(stopping=True), TIME, ["the server is stopping"]),
        (state(gateway="STARTING"), TIME, ["the gateway is STARTING (restarts: 0)"]),
        (
            state(gateway="BACKOFF", gateway_restarts=2, gateway_reason="exit code 1\nmore"),
            TIME,
            ["the gateway is BACKOFF (restarts: 2); exit code 1"],
        ),
        (
            state(config_error="config.yaml:3: what"),
            TIME,
            ["the config as it is now was refused: config.yaml:3: what"],
        ),
        (
            state(default="v1", default_wanted="v2-m3"),
            TIME,
            ["the default is still v1, not v2-m3 as configured"],
        ),
    ],
)
def test_what_is_wrong_beside_the_versions_is_said(
    value: dict[str, object], now: float, expected: list[str]
) -> None:
    assert status.warnings(snapshot.read(value), now) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0 s"),
        (59.9, "59 s"),
        (60.0, "1 min 0 s"),
        (3599.0, "59 min 59 s"),
        (7800.0, "2 h 10 min"),
        (86_400.0 * 3 + 3600 * 5 + 59, "3 d 5 h"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, expected: str) -> None:
    assert status.duration(seconds) == expected


@pytest.mark.parametrize(
    ("size_bytes", "expected"), [(0, "0 MB"), (612_345_678, "612 MB"), (2_345_678_901, "2.3 GB")]
)
def test_sizes_read_as_people_say_them(size_bytes: int, expected: str) -> None:
    assert status.size(size_bytes) == expected


STAGES = [{"version": "v1", "keep": 20}, {"version": "v2", "keep": None}]


def cascade(now_state: str, reason: str | None = None) -> snapshot.Snapshot:
    entry = version("v2-fast", now_state, reason=reason, attempt=2, retry_in_s=3.0)
    return snapshot.read(state(entry | {"cascade": STAGES}))


@pytest.mark.parametrize(
    ("now_state", "reason", "expected"),
    [
        ("RUNNING", None, "RUNNING (cascade: v1:20 > v2)"),
        ("RUNNING", "still v1 > v3; stage v2: X", "RUNNING (cascade: still v1 > v3; stage v2: X)"),
        ("STARTING", "stage v2: STARTING", "STARTING (stage v2: STARTING)"),
        ("FAILED", "stage v1: FAILED: bad", "FAILED (stage v1: FAILED: bad)"),
        (
            "BACKOFF",
            "stage v1: BACKOFF: bad",
            "BACKOFF (restart 2 in 3 s: stage v1: BACKOFF: bad)",
        ),
        ("DISABLED", None, "DISABLED"),
    ],
)
def test_a_cascade_is_shown_as_its_stages_are(
    now_state: str, reason: str | None, expected: str
) -> None:
    shown = cascade(now_state, reason)

    assert status.lines(shown) == [f"v2-fast: {expected}"]
    assert shown.versions[0].is_settled  # its stages are waited for, not it


def test_of_a_cascade_no_process_is_shown() -> None:
    told = status.verbose(cascade("RUNNING"), TIME)

    assert told[-2:] == ["  stages    v1:20 > v2", "  endpoint  /rerank/v2-fast"]
    shown = status.to_json(cascade("RUNNING"))["versions"]
    assert isinstance(shown, list)
    assert shown[0]["cascade"] == STAGES
