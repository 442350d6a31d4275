"""What one line of events.jsonl says, for people."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

_KNOWN = ("time", "event", "generation", "actor", "version", "instance", "from", "to", "reason")
_DETAILS = ("figures", "guards")
"""What a rollout went by: `why` says it in words, `--json` has it in full."""


def line(text: str) -> str:
    """Return one event as people read it; a line that is none, as it is.

    `2026-11-22 16:30:34  v2-m3.1  STARTING -> RUNNING  (generation 2, cli pid 12)`
    """
    try:
        event = json.loads(text)
    except ValueError:
        return text
    if not isinstance(event, dict):
        return text
    said = [_subject(event), _what(event)]
    cause = _cause(event)
    if cause:
        said.append(f"({cause})")
    if event.get("reason") and not _is_default(event):
        said.append(f": {' | '.join(str(event['reason']).split(chr(10)))}")
    moment = time.localtime(_number(event.get("time")))
    words = "  ".join(word for word in said if word).replace("  : ", ": ")
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', moment)}  {words}"


def _subject(event: Mapping[str, object]) -> str:
    if "event" in event:
        return str(event.get("version") or "server")
    if _is_default(event):
        return "default"
    return str(event.get("instance") or event.get("version") or "")


def _what(event: Mapping[str, object]) -> str:
    if "event" in event:
        left_out = (*_KNOWN, *_DETAILS)
        rest = [f"{key}={value}" for key, value in event.items() if key not in left_out]
        return " ".join([str(event["event"]), *rest])
    before, after = event.get("from"), event.get("to")
    if before is None:
        return str(after)
    return f"{before} -> {'gone' if after is None else after}"


def _cause(event: Mapping[str, object]) -> str:
    known = ("generation", "actor")
    found = {key: event[key] for key in known if event.get(key) is not None}
    return ", ".join(f"generation {v}" if k == "generation" else str(v) for k, v in found.items())


def _is_default(event: Mapping[str, object]) -> bool:
    return event.get("reason") == "default route"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
