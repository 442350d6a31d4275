from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rerank_server.catalog.command import CommandFailed, lines, pip_reason


def run(code: str, silence_s: float = 30.0) -> list[str]:
    return list(lines([sys.executable, "-c", code], Path.cwd(), {}, silence_s))


@pytest.mark.process
def test_both_streams_come_line_by_line_also_without_a_last_newline() -> None:
    assert run("import sys; print('out'); sys.stdout.flush(); sys.stderr.write('err')") == [
        "out",
        "err",
    ]


@pytest.mark.process
def test_a_failed_command_raises_with_its_last_words() -> None:
    with pytest.raises(CommandFailed) as caught:
        run("print('first'); print('last'); raise SystemExit(3)")

    assert caught.value.said == ("first", "last")
    assert caught.value.message == "last"


@pytest.mark.process
def test_a_silent_command_is_ended() -> None:
    with pytest.raises(CommandFailed, match=r"said nothing for 0.05 s"):
        run("import threading; threading.Event().wait()", silence_s=0.05)


@pytest.mark.process
def test_a_command_that_is_given_up_is_gone() -> None:
    endless = "import os, threading; print(os.getpid(), flush=True); threading.Event().wait()"
    output = lines([sys.executable, "-c", endless], Path.cwd(), {})

    pid = int(next(output))
    output.close()  # type: ignore[attr-defined]  # a generator has it, an Iterator may not

    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["/usr/bin/python3: No module named pip"], "py has no pip; run: py -m ensurepip"),
        (["WARNING: x", "ERROR: first", "ERROR: second"], "first | second"),
        (["WARNING: ... NewConnectionError ...", "ERROR: x"], "cannot be reached"),
        (["something", ""], "something"),
        ([], "no output"),
    ],
)
def test_the_reason_is_one_line_of_pips_output(said: Sequence[str], reason: str) -> None:
    assert reason in pip_reason("py", said)
