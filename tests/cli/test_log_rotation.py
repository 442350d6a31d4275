from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from rerank_server.supervisor.process import output
from rerank_server.supervisor.rotation import KEPT, Rotation, part_of, rotate
from rerank_server.supervisor.rundir import StateDir, prepare_state_dir


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "v1.log"


def test_a_small_log_stays_and_one_that_is_not_there_is_no_error(log: Path) -> None:
    assert not rotate(log, 10)
    log.write_text("0123456789")

    assert not rotate(log, 10)
    assert [path.name for path in log.parent.iterdir()] == ["v1.log"]


def test_a_grown_log_is_emptied_and_its_text_kept_beside_it(log: Path) -> None:
    log.write_text("0123456789a")

    assert rotate(log, 10)

    assert log.read_text() == ""
    assert part_of(log, 1).read_text() == "0123456789a"


def test_of_a_log_far_over_the_limit_only_the_end_is_kept(log: Path) -> None:
    log.write_text("0123456789a")

    assert rotate(log, 3)

    assert part_of(log, 1).read_text() == "56789a"


def test_only_so_many_older_parts_are_kept(log: Path) -> None:
    for number in range(1, KEPT + 3):
        log.write_text(f"text {number}")
        assert rotate(log, 5)

    kept = sorted(path.name for path in log.parent.iterdir())
    assert kept == ["v1.log", "v1.log.1", "v1.log.2", "v1.log.3"]
    assert part_of(log, 1).read_text() == "text 5"
    assert part_of(log, 3).read_text() == "text 3"


def test_a_process_that_appends_goes_on_at_the_start_of_the_emptied_file(log: Path) -> None:
    code = "import sys\nfor line in sys.stdin: sys.stderr.write(line); print('done', flush=True)"
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            bufsize=0,
        ) as writer,
    ):
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(b"a long line before\n")
        writer.stdout.readline()
        rotate(log, 4)
        writer.stdin.write(b"after\n")
        writer.stdout.readline()
        writer.stdin.close()

    assert log.read_bytes() == b"after\n"


def test_a_copy_that_fails_does_not_hinder_the_cut(log: Path) -> None:
    log.write_text("0123456789")
    code = (
        "import pathlib, resource, sys\n"
        "from rerank_server.supervisor.rotation import rotate\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2, 2))\n"  # as if the disk were full
        "assert rotate(pathlib.Path(sys.argv[1]), 4)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, log], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "old log lines are lost\n")
    assert [path.name for path in log.parent.iterdir()] == ["v1.log"]
    assert log.stat().st_size == 0


def test_all_logs_and_the_events_are_looked_after_once_a_second(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    prepare_state_dir(state)
    rotation = Rotation(state, limit_bytes=4)
    for path in (state.events, state.log("v1"), state.log("gateway")):
        path.write_text("0123456789")

    rotation.run(now=100.0)
    state.events.write_text("again grown")
    rotation.run(now=100.5)
    assert state.events.read_text() == "again grown"
    rotation.run(now=101.0)

    assert state.events.read_text() == state.log("v1").read_text() == ""
    assert part_of(state.events, 2).read_text() == "23456789"
    assert part_of(state.log("gateway"), 1).read_text() == "23456789"


def test_a_log_that_cannot_be_rotated_is_said_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = StateDir(tmp_path)
    prepare_state_dir(state)
    state.log("v1").write_text("0123456789")
    part_of(state.log("v1"), 3).mkdir()
    part_of(state.log("v1"), 2).write_text("")
    rotation = Rotation(state, limit_bytes=4)

    with caplog.at_level(logging.ERROR):
        for second in range(61):
            rotation.run(now=float(second))

    assert caplog.text.count("log cannot be rotated") == 2


def test_the_last_lines_of_a_log_cut_after_the_child_began_are_all_its_own(log: Path) -> None:
    log.write_text("of an earlier child\nnew one\nnew two\n")
    assert output(log, 20) == "new one\nnew two\n"

    log.write_text("cut\n")

    assert output(log, 20).strip() == "cut"
    assert output(log.with_name("none"), 0) == ""
