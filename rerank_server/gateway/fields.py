"""Typed reading of a request's JSON fields: lenient where nothing is guessed, else an error."""

from __future__ import annotations

from collections.abc import Mapping

from rerank_server.errors import BadRequestError, TooLargeError

_FLAG_WORDS = {"true": True, "false": False}


def query(body: Mapping[str, object], key: str) -> str:
    """Return a required, non-empty string."""
    value = body.get(key)
    if value is None:
        raise BadRequestError(f"{key} is missing; send a string", field=key)
    if not isinstance(value, str):
        raise BadRequestError(f"{key} must be a string, not {kind(value)}", field=key)
    if not value:
        raise BadRequestError(f"{key} is empty; send at least one character", field=key)
    return value


def texts(body: Mapping[str, object], key: str, max_count: int) -> list[str]:
    """Return a required list of strings, which may be empty."""
    value = body.get(key)
    if value is None:
        raise BadRequestError(f"{key} is missing; send a list of strings", field=key)
    if not isinstance(value, list):
        raise BadRequestError(f"{key} must be a list of strings, not {kind(value)}", field=key)
    if len(value) > max_count:
        raise TooLargeError(
            f"{key} has {len(value)} entries; this server takes {max_count} at a time", field=key
        )
    if not set(map(type, value)) <= {str}:
        index, wrong = next((i, v) for i, v in enumerate(value) if not isinstance(v, str))
        field = f"{key}[{index}]"
        raise BadRequestError(f"{field} must be a string, not {kind(wrong)}", field=field)
    return value


def flag(body: Mapping[str, object], key: str) -> bool:
    """Return an optional boolean, False by default; "true" and "false" as strings are taken."""
    value = body.get(key)
    if value is None:
        return False
    if isinstance(value, str):
        value = _FLAG_WORDS.get(value.lower(), value)
    if not isinstance(value, bool):
        raise BadRequestError(f"{key} must be true or false, not {kind(value)}", field=key)
    return value


def count(body: Mapping[str, object], key: str) -> int | None:
    """Return an optional whole number of at least 1."""
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequestError(f"{key} must be a whole number, not {kind(value)}", field=key)
    if value < 1:
        raise BadRequestError(f"{key} must be at least 1", field=key)
    return value


def name(body: Mapping[str, object], key: str) -> str | None:
    """Return an optional string; an empty one counts as missing."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRequestError(f"{key} must be a string, not {kind(value)}", field=key)
    return value or None


def kind(value: object) -> str:
    """Return what JSON calls a value's type."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"
