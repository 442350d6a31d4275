"""How the end of a process is put into one line for a person."""

from __future__ import annotations

import pytest

from rerank_server.supervisor.process import describe


@pytest.mark.parametrize(
    ("code", "is_ours", "oom_kills", "said"),
    [
        (17, False, 0, "exited with code 17: bye"),
        (-11, False, 0, "killed by SIGSEGV: bye"),
        (-9, True, 1, "killed by SIGKILL: bye"),
        (-9, False, 0, "killed by SIGKILL, not sent by this server: bye"),
        (
            -9,
            False,
            2,
            "killed by SIGKILL, not sent by this server; "
            "the kernel's memory limit struck (oom_kill +2): bye",
        ),
    ],
)
def test_an_end_names_the_signal_who_sent_it_and_the_memory_killer(
    code: int, is_ours: bool, oom_kills: int, said: str
) -> None:
    assert describe(code, is_ours=is_ours, oom_kills=oom_kills, tail="bye") == said
