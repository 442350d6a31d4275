"""Keeps what this process holds within its limits: what would go beyond is refused at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rerank_server.core.limits import Limits, VersionLimits
from rerank_server.core.routing import RoutesTable
from rerank_server.errors import OverloadedError, ServerFullError, TooLargeError
from rerank_server.gateway.dialect import Key, ScoreRequest

_NO_LIMITS = VersionLimits()


class Load:
    """What is in flight: of the whole process, or of one version."""

    __slots__ = ("body_bytes", "pairs", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.body_bytes = 0
        self.pairs = 0


class Gate:
    """The counts of one process. `watch` is told the bytes in flight whenever they change."""

    def __init__(self, watch: Callable[[int], None] = lambda _: None) -> None:
        self.load = Load()
        self._versions: dict[str, Load] = {}
        self._watch = watch

    def open(self, table: RoutesTable, version: str | None) -> Hold:
        """Return what a new request holds: nothing yet. `version` where its path names one."""
        return Hold(self, table, version)

    def of(self, version: str) -> Load:
        """Return what is in flight for a version; only configured names may be asked for."""
        load = self._versions.get(version)
        if load is None:
            load = self._versions[version] = Load()
        return load

    def changed(self) -> None:
        """Tell the watcher."""
        self._watch(self.load.body_bytes)


class Hold:
    """What one request holds, given back when its `with` block ends."""

    __slots__ = ("_body_bytes", "_gate", "_load", "_pairs", "_table", "_version_limits", "limits")

    def __init__(self, gate: Gate, table: RoutesTable, version: str | None) -> None:
        route = None if version is None else table.versions.get(version)
        self.limits: Limits = table.limits
        self._version_limits = _NO_LIMITS if route is None else route.limits
        self._table = table
        self._gate = gate
        self._load: Load | None = None
        self._body_bytes = 0
        self._pairs = 0

    @property
    def max_body_bytes(self) -> int:
        """Return how large the body may be, as far as is known before it is read."""
        return min(self.limits.max_body_bytes, self._version_limits.max_body_bytes)

    def expect(self, body_bytes: int) -> None:
        """Refuse a body of that length before it is sent, if there is no room for it.

        Raises:
            TooLargeError: there never will be.
            ServerFullError: there is none now.
        """
        if body_bytes > self.max_body_bytes:
            raise _body_too_large(self.max_body_bytes)
        if self._gate.load.body_bytes + body_bytes > self.limits.max_in_flight_bytes:
            raise ServerFullError("the server holds as many bytes of requests as it may")

    def add(self, body_bytes: int) -> None:
        """Hold a received part of the body.

        Raises:
            TooLargeError, ServerFullError: as for `expect`.
        """
        load = self._gate.load
        load.body_bytes += body_bytes
        self._body_bytes += body_bytes
        self._gate.changed()
        if self._body_bytes > self.max_body_bytes:
            raise _body_too_large(self.max_body_bytes)
        if load.body_bytes > self.limits.max_in_flight_bytes:
            raise ServerFullError("the server holds as many bytes of requests as it may")

    def enter(self, version: str, request: ScoreRequest) -> VersionLimits:
        """Take the request in to be scored by `version`, and return that version's limits.

        Raises:
            TooLargeError: body or documents are larger or more than that version takes.
            OverloadedError: too much of that version's is in flight already.
            ServerFullError: not of that version's, but of all.
        """
        route = self._table.versions.get(version)
        own = _NO_LIMITS if route is None else route.limits
        self._check_size(own, request)
        pairs = len(request.docs)
        everyone, ours = self._gate.load, self._gate.of(version)
        if ours.requests >= own.max_concurrent_requests:
            raise OverloadedError(f"version {version} works on as many requests as it may")
        if ours.body_bytes + self._body_bytes > own.max_in_flight_bytes:
            raise OverloadedError(f"version {version} holds as many bytes of requests as it may")
        if everyone.requests >= self.limits.max_concurrent_requests:
            raise ServerFullError("the server works on as many requests as it may")
        if everyone.pairs + pairs > self.limits.max_queued_pairs:
            raise ServerFullError("as many documents wait for their scores as may")
        self._pairs = pairs
        self._load = ours
        ours.body_bytes += self._body_bytes
        for load in (everyone, ours):
            load.requests += 1
            load.pairs += self._pairs
        return own

    def is_taken_by(self, version: str, request: ScoreRequest) -> bool:
        """Tell whether the request is within the sizes that `version` takes."""
        route = self._table.versions.get(version)
        try:
            self._check_size(_NO_LIMITS if route is None else route.limits, request)
        except TooLargeError:
            return False
        return True

    def _check_size(self, own: VersionLimits, request: ScoreRequest) -> None:
        if self._body_bytes > own.max_body_bytes:
            raise _body_too_large(own.max_body_bytes)
        count, most = len(request.docs), min(own.max_docs, self.limits.max_docs)
        if count > most:
            key = request.docs_key.name
            raise TooLargeError(f"{key} has {count} entries; {most} are taken at a time", field=key)
        most = min(own.max_doc_chars, self.limits.max_doc_chars)
        _check_length(request.queries or (request.query,), request.query_key, most)
        _check_length(request.docs, request.docs_key, most)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._gate.load.body_bytes -= self._body_bytes
        self._gate.changed()
        if self._load is not None:
            self._load.body_bytes -= self._body_bytes
            for load in (self._gate.load, self._load):
                load.requests -= 1
                load.pairs -= self._pairs


def _body_too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than the {limit} bytes that are taken")


def _check_length(texts: Sequence[str], key: Key, most: int) -> None:
    if max(map(len, texts), default=0) <= most:
        return
    index, text = next((i, text) for i, text in enumerate(texts) if len(text) > most)
    field = key.of(index)
    raise TooLargeError(
        f"{field} has {len(text)} characters; at most {most} are taken", field=field
    )
