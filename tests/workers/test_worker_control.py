from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from rerank_workers.control import LONGEST_LINE_BYTES, MOST_UNSENT_BYTES, Control, Message, connect

DEADLINE_S = 10.0


@dataclass
class Desk:
    """A control channel, the supervisor's end of it, and what came down."""

    control: Control
    peer: socket.socket
    messages: list[Message]
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def read_all(self) -> bytes:
        loop = asyncio.get_running_loop()
        parts = []
        while part := await loop.sock_recv(self.peer, 1 << 20):
            parts.append(part)
        return b"".join(parts)


def play(scene: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        ours, peer = socket.socketpair()
        peer.setblocking(False)
        messages: list[Message] = []
        ended = asyncio.Event()
        control = await connect(ours.detach(), messages.append, ended.set)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await scene(Desk(control, peer, messages, ended))
        finally:
            peer.close()
            await ended.wait()

    asyncio.run(run())


def test_a_message_is_one_line_of_json() -> None:
    async def scene(desk: Desk) -> None:
        desk.control.send({"type": "failed", "reason": "两行\nof text"})
        await desk.control.flush(1.0)
        line = desk.peer.recv(1000)
        assert line.count(b"\n") == 1
        assert json.loads(line) == {"type": "failed", "reason": "两行\nof text"}

    play(scene)


def test_messages_from_above_may_come_in_pieces_or_together() -> None:
    async def scene(desk: Desk) -> None:
        for piece in (b'{"type": "dr', b'ain"}\n{"type": "stop"}\n{"ty', b'pe": "last"}\n'):
            desk.peer.send(piece)
            await asyncio.sleep(0)
        desk.peer.shutdown(socket.SHUT_WR)
        await desk.ended.wait()
        assert [message["type"] for message in desk.messages] == ["drain", "stop", "last"]

    play(scene)


@pytest.mark.parametrize(
    "sent", [b"nonsense\n", b"[]\n", b"\xff\n", b"x" * (LONGEST_LINE_BYTES + 9)]
)
def test_what_is_no_message_ends_the_channel(sent: bytes) -> None:
    async def scene(desk: Desk) -> None:
        await asyncio.get_running_loop().sock_sendall(desk.peer, sent)
        await desk.ended.wait()
        assert desk.messages == []

    play(scene)


def test_a_supervisor_that_does_not_read_loses_beats_but_no_news() -> None:
    async def scene(desk: Desk) -> None:
        beat = {"type": "beat", "padding": "x" * 100_000}
        for _ in range(100):
            desk.control.send(beat, may_drop=True)
        desk.control.send({"type": "drained"})
        await desk.control.flush(0.01)
        reading = asyncio.create_task(desk.read_all())
        await desk.control.flush(DEADLINE_S)
        desk.control.close()
        lines = (await reading).splitlines()
        assert len(lines) * 100_000 < MOST_UNSENT_BYTES + 1_000_000
        assert json.loads(lines[-1]) == {"type": "drained"}

    play(scene)


def test_a_message_after_the_end_goes_nowhere() -> None:
    async def scene(desk: Desk) -> None:
        desk.control.close()
        desk.control.send({"type": "beat"})
        await desk.ended.wait()
        desk.control.send({"type": "beat"})
        desk.control.close()
        assert await desk.read_all() == b""

    play(scene)
