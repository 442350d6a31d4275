"""The listening sockets the supervisor owns: they outlive every gateway process."""

from __future__ import annotations

import socket

from rerank_server.core.front import FrontSpec
from rerank_server.supervisor.gateway import listen


class Listeners:
    """One listening socket per address in use; port 0 is resolved once and kept.

    A socket inherited from the service manager stands for every address: where to listen is
    then said in its unit, not in the config.
    """

    def __init__(self, inherited: socket.socket | None = None) -> None:
        """Own `inherited` from now on."""
        self._inherited = inherited
        self._sockets: dict[tuple[str, int], socket.socket] = {}

    def open(self, spec: FrontSpec) -> None:
        """Bind the address of `spec` unless it is bound already.

        Raises:
            ListenError: the address is in use, not allowed or not of this host.
        """
        key = (spec.host, spec.port)
        if self._inherited is None and key not in self._sockets:
            self._sockets[key] = listen(spec.host, spec.port)

    def of(self, spec: FrontSpec) -> socket.socket:
        """Return the socket opened for `spec`."""
        return self._inherited or self._sockets[spec.host, spec.port]

    def host(self, spec: FrontSpec) -> str:
        """Return the host as configured, or the address an inherited socket is bound to."""
        if self._inherited is None:
            return spec.host
        return str(self._inherited.getsockname()[0])

    def port(self, spec: FrontSpec) -> int:
        """Return the port really bound."""
        return int(self.of(spec).getsockname()[1])

    def keep_only(self, specs: set[FrontSpec]) -> None:
        """Close the sockets of addresses that no gateway uses any more."""
        wanted = {(spec.host, spec.port) for spec in specs}
        for key in [k for k in self._sockets if k not in wanted]:
            self._sockets.pop(key).close()

    def close(self) -> None:
        """Close them all."""
        self.keep_only(set())
        if self._inherited is not None:
            self._inherited.close()
