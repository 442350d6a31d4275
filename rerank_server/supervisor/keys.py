"""Reads the API keys: of the file that the config names, and of the environment."""

from __future__ import annotations

from pathlib import Path

from rerank_server.core.access import ApiKey, parse_entries, parse_line
from rerank_server.errors import ConfigError

VARIABLE = "RERANK_SERVER_API_KEYS"


def read_keys(file: Path | None, entries: str | None) -> tuple[ApiKey, ...]:
    """Return the keys of both places; none means that everything is open.

    Raises:
        ConfigError: one of them cannot be read, or holds none although it is there: a file that
            was emptied by mistake must not open the server.
    """
    found = _of_file(file) if file is not None else ()
    if entries is None:
        return found
    try:
        more = parse_entries(entries)
    except ValueError as error:
        raise ConfigError(f"{VARIABLE}: {error}") from error
    if not more:
        raise ConfigError(f"{VARIABLE}: is set, but holds no key; unset it to use none")
    return found + more


def _of_file(path: Path) -> tuple[ApiKey, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        problem = f"server.api_keys_file: {path}: cannot be read: {error.strerror}"
        raise ConfigError(problem) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"server.api_keys_file: {path}: not UTF-8") from error
    keys, problems = [], []
    for number, line in enumerate(lines, 1):
        try:
            key = parse_line(line)
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}; make a line with: rerank-server key")
        else:
            keys += [] if key is None else [key]
    if not keys and not problems:
        problems = [f"{path}: holds no key; make one with: rerank-server key"]
    if problems:
        raise ConfigError(problems)
    return tuple(keys)
