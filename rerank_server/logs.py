"""How log records look: one line each, a fixed phrase and its fields, for people or as JSON."""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from typing import Literal

Format = Literal["console", "json"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(form: Format, level: str) -> None:
    """Send all records of this process to stderr. Called once, by the process's main module."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Console())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class Console(logging.Formatter):
    """`2026-11-22T16:30:34.120+0000 info worker ready worker=v2-m3.1 load_s=3.1`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line; a traceback follows on lines of its own."""
        fields = "".join(f" {name}={_plain(value)}" for name, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname.lower()} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class Json(logging.Formatter):
    """One JSON object a line: time, level, logger, pid, message, the fields, an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _time(record: logging.LogRecord) -> str:
    date, zone = _second(int(record.created))
    return f"{date}.{int(record.msecs):03d}{zone}"


@functools.lru_cache(maxsize=1)  # a busy gateway writes thousands of lines a second
def _second(second: int) -> tuple[str, str]:
    moment = time.localtime(second)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment), time.strftime("%z", moment)


def _plain(value: object) -> str:
    if type(value) in (int, float):
        return str(value)
    if isinstance(value, str) and value and value.isprintable() and not set(value) & set(' "='):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
