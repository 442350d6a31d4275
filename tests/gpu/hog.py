"""Another tenant of a card: takes all of its memory but some, until its standard input ends."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

_SCRIPT = """
import sys, torch
leave = int(sys.argv[1]) << 20
torch.zeros(1, device="cuda:0")
free, _ = torch.cuda.mem_get_info(0)
held = torch.empty(max(0, free - leave), dtype=torch.uint8, device="cuda:0")
print("held", flush=True)
sys.stdin.read()
"""


class Hog:
    """Holds the card's memory for the length of a `with` block."""

    def __init__(self, leave_mb: int) -> None:
        self._leave_mb = leave_mb
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        argv = [sys.executable, "-c", _SCRIPT, str(self._leave_mb)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.communicate(b"", timeout=30.0)
