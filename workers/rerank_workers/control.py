"""The channel to the supervisor: one JSON object a line, both ways, over an inherited socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping
from typing import cast

LONGEST_LINE_BYTES = 1 << 20
"""A `configure` is under 1 KiB; what is longer than this is no message."""
MOST_UNSENT_BYTES = 1 << 20
"""A stopped supervisor reads nothing: past this, messages that may be lost are."""

Message = Mapping[str, object]


class Control(asyncio.Protocol):
    """Sends messages up; hands each message from above to `on_message`."""

    def __init__(self, on_message: Callable[[Message], None], on_end: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._flushed = asyncio.Event()
        self._flushed.set()

    def send(self, message: Message, *, may_drop: bool = False) -> None:
        """Queue one message; `may_drop` for those that a later one replaces (beats)."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if may_drop and transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            return
        transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything is with the kernel, or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._flushed.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """End the channel at once, with whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; any unsent byte counts as not flushed."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)

    def pause_writing(self) -> None:
        """Note that the supervisor does not read."""
        self._flushed.clear()

    def resume_writing(self) -> None:
        """Note that everything was taken."""
        self._flushed.set()

    def data_received(self, data: bytes) -> None:
        """Cut lines; a line that is no JSON object breaks the contract and ends the channel."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE_BYTES:
            self.close()
            return
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                self.close()
                return
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end: the supervisor closed its side, or spoke nonsense."""
        self._flushed.set()
        self._on_end()


async def connect(
    descriptor: int, on_message: Callable[[Message], None], on_end: Callable[[], None]
) -> Control:
    """Take over an inherited, connected Unix stream socket."""
    os.set_inheritable(descriptor, False)
    channel = socket.socket(fileno=descriptor)
    loop = asyncio.get_running_loop()
    _, control = await loop.connect_accepted_socket(lambda: Control(on_message, on_end), channel)
    return control
