"""`rerank-server start` or `restart`, but what it puts in the background is the fake server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rerank_server.__main__ import exit_code
from rerank_server.cli.options import StartOptions, replay
from rerank_server.cli.server import restart_server, start_in_background

FAKE = Path(__file__).parent / "fake_server.py"


def command(options: StartOptions) -> Sequence[str]:
    return [sys.executable, str(FAKE), *options.arguments()]


if __name__ == "__main__":
    verb, wait, *arguments = sys.argv[1:]
    options = replay(arguments)
    assert options is not None
    given = options
    wait_s = None if wait == "-" else float(wait)
    if verb == "restart":
        action = lambda: restart_server(  # noqa: E731
            given.run, wait_s=wait_s, timeout_s=30, command_of=command
        )
    else:
        action = lambda: start_in_background(given, wait_s, command(given))  # noqa: E731
    sys.exit(exit_code(action))
