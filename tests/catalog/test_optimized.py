from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rerank_server.catalog import stages
from rerank_server.catalog.optimized import FOLDER, PREVIOUS, Optimized, optimize
from rerank_server.errors import CatalogError

REPORT: dict[str, object] = {"variants": {}}


class Told:
    """Keeps what it is told; may give the action up at a stage, as Ctrl-C does."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.stages: list[tuple[str, float]] = []
        self._stop_at = stop_at

    def reached(self, stage: str, share: float) -> None:
        self.stages.append((stage, share))
        if stage == self._stop_at:
            raise KeyboardInterrupt


def program(*lines: object, code: int = 0, first: str = "") -> list[str]:
    """Return a program that runs `first`, says these lines, and ends."""
    said = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    script = f"import os, sys, time\n{first}\nfor line in {said!r}: print(line, flush=True)\n"
    return [sys.executable, "-c", script + f"sys.exit({code})"]


def run(
    directory: Path, command: Sequence[str], told: Told | None = None, *, force: bool = False
) -> Optimized:
    return optimize(directory, command, {}, told or Told(), force=force)


def test_the_report_and_each_stage_are_handed_on(tmp_path: Path) -> None:
    told = Told()
    command = program(
        {"stage": "write", "share": 0.1},
        "WARNING: a library chatters",
        {"installed": "int8 dynamic", "report": REPORT},
    )

    result = run(tmp_path, command, told)

    assert result == Optimized("int8 dynamic", REPORT)
    assert told.stages == [("write", 0.1)]


def test_a_refusal_is_a_report_although_the_program_ends_with_1(tmp_path: Path) -> None:
    command = program({"installed": None, "report": REPORT}, code=1)

    assert run(tmp_path, command) == Optimized(None, REPORT)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (program({"error": "openvino is not installed"}, code=1), "openvino is not installed"),
        (program("Killed at line 3", code=9), "Killed at line 3"),
        (program(), "the program ended without a report"),
    ],
)
def test_a_program_that_failed_is_one_line(
    tmp_path: Path, command: Sequence[str], message: str
) -> None:
    with pytest.raises(CatalogError) as caught:
        run(tmp_path, command)

    assert caught.value.message == message


def test_what_is_there_already_is_replaced_by_force_only(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    command = program({"installed": "bfloat16", "report": REPORT})

    with pytest.raises(CatalogError, match="is there already; --force replaces it"):
        run(tmp_path, command)

    assert run(tmp_path, command, force=True).installed == "bfloat16"


def test_given_up_the_program_is_gone_and_the_directory_as_before(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "model.onnx").write_bytes(b"as before")
    told = Told(stop_at="between the renames")
    command = program(
        {"stage": "between the renames", "share": 0.9},
        first=f"os.rename('{FOLDER}', '{PREVIOUS}'); os.mkdir('.model_cpu.x')",
    )
    command[-1] = command[-1].replace("sys.exit(0)", "time.sleep(600)")

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, command, told, force=True)

    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]
    assert (tmp_path / FOLDER / "model.onnx").read_bytes() == b"as before"


def test_a_second_one_on_the_same_version_is_refused(tmp_path: Path) -> None:
    class Second(Told):
        def reached(self, stage: str, share: float) -> None:
            with pytest.raises(CatalogError, match="another process is at work"):
                run(tmp_path, program())
            super().reached(stage, share)

    told = Second()

    run(tmp_path, program({"stage": "s", "share": 0.5}, {"installed": "x", "report": {}}), told)

    assert told.stages == [("s", 0.5)]


def test_off_a_terminal_each_stage_is_a_line_once() -> None:
    out = io.StringIO()

    with stages.stages_on("v1", out) as shown:
        shown.reached("write", 0.1)
        shown.reached("write", 0.2)
        shown.reached("race", 0.92)

    assert out.getvalue() == "v1: write (10%)\nv1: race (92%)\n"


def test_on_a_terminal_the_bar_is_full_at_the_end() -> None:
    out = io.StringIO()

    with stages.Bar(out, "v1") as bar:
        bar.reached("write [bold]", 0.1)

    assert "100%" in out.getvalue()
