from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

import pytest

from rerank_server.__main__ import exit_code
from rerank_server.errors import (
    AlreadyRunningError,
    ConfigError,
    NotRunningError,
    RerankServerError,
    UsageError,
)
from tests.cli.conftest import Done, finished, program


def failing(error: BaseException) -> Callable[[], int]:
    def action() -> int:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RerankServerError("no room"), 1, "error: no room\n"),
        (AlreadyRunningError("pid 3"), 1, "error: pid 3\n"),
        (UsageError("what?"), 2, "error: what?\n"),
        (ConfigError(["a:1: x", "a:2: y"]), 3, "error: a:1: x\nerror: a:2: y\n"),
        (
            NotRunningError(),
            4,
            "error: No server runs here; start one with: rerank-server start.\n",
        ),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full"),
            1,
            "error: /full: No space left on device\n",
        ),
        (OSError("odd"), 1, "error: odd\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ZeroDivisionError("by zero"),
            1,
            "error: a bug in rerank-server: ZeroDivisionError: by zero "
            "(set RERANK_SERVER_TRACEBACK=1 to see where)\n",
        ),
    ],
)
def test_every_way_to_fail_has_its_code_and_its_line(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(failing(error)) == code

    assert capsys.readouterr() == ("", said)


def test_what_the_action_returns_is_the_code() -> None:
    assert exit_code(lambda: 0) == 0
    assert exit_code(lambda: 4) == 4


def test_a_bug_shows_its_traceback_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RERANK_SERVER_TRACEBACK", "1")

    assert exit_code(failing(ZeroDivisionError("by zero"))) == 1

    assert "Traceback (most recent call last)" in capsys.readouterr().err


INTERRUPTED = """
import sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == "rerank_server.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from rerank_server.__main__ import main
main(["status"])
"""


def test_an_interrupt_while_the_command_loads_is_no_traceback() -> None:
    assert finished([sys.executable, "-c", INTERRUPTED]) == Done(130, [], [])


def test_a_word_that_is_none_of_those_taken_is_said_in_our_words() -> None:
    assert finished(program("move", "v1", "cuda:9")).err == [
        "error: invalid value for 'cpu|gpu|auto': 'cuda:9' is not one of 'cpu', 'gpu', 'auto'",
        "hint: rerank-server move --help",
    ]
