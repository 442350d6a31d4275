"""One line per log record on stderr: time, level, logger, phrase, then its fields."""

from __future__ import annotations

import logging
import sys

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class FieldFormatter(logging.Formatter):
    """Writes what was passed as `extra` behind the message as key=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the record's line; a traceback, if any, follows on lines of its own."""
        line = super().formatMessage(record)
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        return " ".join([line, *(f"{key}={value}" for key, value in fields.items())])


def log_to_stderr() -> None:
    """Send warnings of any library and our own news to stderr, which is the version's log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("rerank_workers").setLevel(logging.INFO)
