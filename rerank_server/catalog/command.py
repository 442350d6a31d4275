"""Runs a child program and hands on its output line by line, with a deadline on silence."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rerank_server.errors import CatalogError

SILENCE_S = 600.0
"""pip's own timeouts and retries are far shorter; a child that is silent for longer is dead."""

_KEPT_LINES = 50

_NO_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|NameResolution|Temporary failure in name|"
    r"Network is unreachable|Connection refused|ProxyError|SSLError"
)


class CommandFailed(CatalogError):
    """A child program ended with an error."""

    def __init__(self, said: Sequence[str]) -> None:
        self.said = tuple(said)
        """The last lines of its output."""
        super().__init__(next((line for line in reversed(said) if line), "it said nothing"))


def lines(
    command: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    silence_s: float = SILENCE_S,
    tick_s: float | None = None,
) -> Iterator[str]:
    """Run a command and yield what it writes, standard error included, as it comes.

    With `tick_s`, an empty line is yielded whenever it was silent for so long. The child is gone
    when the iteration ends, also when it is given up.

    Raises:
        CommandFailed: it ended with another status than 0, or was silent for too long.
    """
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        for line in _output(process, silence_s, tick_s or silence_s):
            if line:
                said.append(line)
            yield line
        if process.wait(timeout=silence_s) != 0:
            raise CommandFailed(tuple(said))
    except subprocess.TimeoutExpired as error:
        raise CommandFailed([*said, f"it said nothing for {silence_s:g} s"]) from error
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def pip_reason(python: str, said: Sequence[str]) -> str:
    """Find the part of pip's last words that tells why it failed, as one line."""
    if any("No module named pip" in line for line in said):
        return f"{python} has no pip; run: {python} -m ensurepip"
    if any(_NO_NETWORK.search(line) for line in said):
        return "the package index cannot be reached; is there a network, or a proxy to name?"
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    return " | ".join((errors or [line for line in said if line.strip()] or ["no output"])[-3:])


def _output(process: subprocess.Popen[bytes], silence_s: float, tick_s: float) -> Iterator[str]:
    assert process.stdout is not None
    rest, silent_s = b"", 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(tick_s):
                silent_s += tick_s
                if silent_s >= silence_s:
                    raise subprocess.TimeoutExpired(process.args, silence_s)
                yield ""
                continue
            silent_s = 0.0
            chunk = os.read(process.stdout.fileno(), 65_536)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (_text(line) for line in whole)
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip()
