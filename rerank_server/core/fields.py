"""Reads the fields of a JSON object by their type; each raises ValueError for another one."""

from __future__ import annotations

from collections.abc import Mapping


def section(holder: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return the object under a key."""
    return as_section(holder.get(key), key)


def as_section(value: object, key: str) -> Mapping[str, object]:
    """Return a value that has to be an object; `key` only names it in the message."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}: not an object")
    return value


def text(holder: Mapping[str, object], key: str) -> str:
    """Return the string under a key."""
    value = holder.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key}: not a string")
    return value


def optional_text(holder: Mapping[str, object], key: str) -> str | None:
    """Return the string under a key, None when it is null or missing."""
    return None if holder.get(key) is None else text(holder, key)


def number(holder: Mapping[str, object], key: str) -> float:
    """Return the number under a key."""
    value = holder.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key}: not a number")
    return float(value)


def optional_number(holder: Mapping[str, object], key: str) -> float | None:
    """Return the number under a key, None when it is null or missing."""
    return None if holder.get(key) is None else number(holder, key)


def integer(holder: Mapping[str, object], key: str) -> int:
    """Return the integer under a key."""
    value = holder.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key}: not an integer")
    return value


def optional_integer(holder: Mapping[str, object], key: str) -> int | None:
    """Return the integer under a key, None when it is null or missing."""
    return None if holder.get(key) is None else integer(holder, key)


def flag(holder: Mapping[str, object], key: str) -> bool:
    """Return the true or false under a key."""
    value = holder.get(key)
    if not isinstance(value, bool):
        raise ValueError(f"{key}: not true or false")
    return value
