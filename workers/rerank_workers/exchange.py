"""One request and one answer of the worker's HTTP, and who is on either side of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer, its body JSON."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Client(Protocol):
    """Whoever waits for an answer."""

    def answer(self, answer: Answer) -> None:
        """Send the answer to the request last handed over; without effect if the client left."""


class Application(Protocol):
    """What the front serves; called on the event loop, must not block."""

    def receive(self, client: Client, request: Request) -> None:
        """Take a request; `client.answer` is called once, now or later."""

    def hung_up(self, client: Client) -> None:
        """Learn that a client left before its answer."""

    def refuse(self, status: int, message: str) -> Answer:
        """Make the answer to a request that is not even HTTP as this front takes it."""


def render(answer: Answer, closes: bool) -> bytes:
    """Return the bytes of an answer."""
    head = [_HEADS.get(answer.status) or _head(answer.status), b"%d\r\n" % len(answer.body)]
    head += [f"{name}: {value}\r\n".encode("latin-1") for name, value in answer.headers]
    if closes:
        head.append(b"connection: close\r\n")
    return b"".join([*head, b"\r\n", answer.body])


def _head(status: int) -> bytes:
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "content-type: application/json\r\ncontent-length: "
    ).encode("ascii")


_HEADS = {status: _head(status) for status in (200, 429, 500, 503, 504)}
