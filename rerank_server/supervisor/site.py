"""What everything the supervisor spawns stands on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rerank_server.supervisor.janitor import Janitor
from rerank_server.supervisor.rundir import RunDir, StateDir


@dataclass(frozen=True, slots=True)
class Site:
    """The places, the loop and the guards shared by all children of one supervisor."""

    run: RunDir
    state: StateDir
    loop: asyncio.AbstractEventLoop
    janitor: Janitor
    lifeline_fd: int
    """Read end of a pipe whose write end only the supervisor holds: EOF means it is gone."""
