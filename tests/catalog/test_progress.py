from __future__ import annotations

import contextlib
import io
import os
import pty

import pytest

from rerank_server.catalog.progress import Bar, Lines, megabytes, shown_on


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_tell_start_speed_and_end_but_not_every_step() -> None:
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock) as lines:
        for second in range(11):
            clock.now = 100.0 + second
            lines.update(second * 1_000_000, 10_000_000, "wheel")
        lines.update(10_000_000, 10_000_000, "wheel")
        lines.note("done")

    assert out.getvalue().splitlines() == [
        "wheel: 0 B of 10.0 MB",
        "wheel: 5.0 MB of 10.0 MB, 1.0 MB/s",
        "wheel: 10.0 MB of 10.0 MB, 1.0 MB/s",
        "done",
    ]


def test_lines_do_without_a_total() -> None:
    out = io.StringIO()

    Lines(out).update(2_500, 0, "page")

    assert out.getvalue() == "page: 2.5 kB\n"


def test_a_stream_that_is_no_terminal_gets_lines() -> None:
    assert isinstance(shown_on(io.StringIO()), Lines)


def all_of(leader: int) -> str:
    """Read a terminal to its end: what was written comes in pieces, when the kernel likes."""
    parts: list[bytes] = []
    with contextlib.suppress(OSError), os.fdopen(leader, "rb", buffering=0) as terminal:
        while part := terminal.read(65_536):  # at the end: an input/output error
            parts.append(part)
    return b"".join(parts).decode()


def test_a_terminal_gets_a_bar_with_size_and_speed() -> None:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        shown = shown_on(terminal)
        with shown:
            shown.update(1_000_000, 4_000_000, "wheel")
            shown.update(4_000_000, 4_000_000, "wheel")
            shown.note("[kept as written]")
    text = all_of(leader)

    assert isinstance(shown, Bar)
    assert "wheel" in text
    assert "4.0/4.0 MB" in text
    assert "[kept as written]" in text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (72_522_052, "72.5 MB"), (2.3e9, "2.3 GB")]
)
def test_sizes_read_as_people_write_them(size: float, text: str) -> None:
    assert megabytes(size) == text
