from __future__ import annotations

import errno
import os
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
