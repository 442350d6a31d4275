"""Typed reading of a request's JSON fields: lenient where nothing is guessed, else an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rerank_server.errors import BadRequestError, TooLargeError

_FLAG_WORDS = {"true": True, "false": False}


def query(body: Mapping[str, object], key: str) -> str:
    """Return a required, non-empty string."""
    value = body.get(key)
    if value is None:
        raise BadRequestError(f"{key} is missing; send a string", field=key)
    return text(value, key)


def text(value: object, field: str) -> str:
    """Return a value that must be a non-empty string."""
    if not isinstance(value, str):
        raise BadRequestError(f"{field} must be a string, not {kind(value)}", field=field)
    if not value:
        raise BadRequestError(f"{field} is empty; send at least one character", field=field)
    return value


def texts(body: Mapping[str, object], key: str, max_count: int) -> list[str]:
    """Return a required list of strings, which may be empty."""
    value = _list(body, key, max_count)
    if not set(map(type, value)) <= {str}:
        index, wrong = next((i, v) for i, v in enumerate(value) if not isinstance(v, str))
        field = f"{key}[{index}]"
        raise BadRequestError(f"{field} must be a string, not {kind(wrong)}", field=field)
    return value  # type: ignore[return-value]  # all of them are strings


def documents(
    body: Mapping[str, object], key: str, max_count: int, rank_fields: Sequence[str] = ()
) -> list[str]:
    """Return a required list of documents as texts; it may be empty.

    A document is a string, or an object whose `text` is taken; with `rank_fields`, an object's
    strings under those names are taken instead, if it has any, in that order, a line each.
    """
    value = _list(body, key, max_count)
    if set(map(type, value)) <= {str}:
        return value  # type: ignore[return-value]  # all of them are strings
    return [_document(item, f"{key}[{i}]", rank_fields) for i, item in enumerate(value)]


def _document(item: object, field: str, rank_fields: Sequence[str]) -> str:
    if isinstance(item, str):
        return item
    if not isinstance(item, dict):
        what = "a string or an object with text"
        raise BadRequestError(f"{field} must be {what}, not {kind(item)}", field=field)
    parts = [item[name] for name in rank_fields if item.get(name) is not None]
    if parts:
        if not set(map(type, parts)) <= {str}:
            raise BadRequestError(f"{field}: the rank_fields must be strings", field=field)
        return "\n".join(parts)
    found = item.get("text")
    if not isinstance(found, str):
        said = "is missing; send a string" if found is None else f"is {kind(found)}, not a string"
        raise BadRequestError(f"{field}.text {said}", field=f"{field}.text")
    return found


def _list(body: Mapping[str, object], key: str, max_count: int) -> list[object]:
    value = body.get(key)
    if value is None:
        raise BadRequestError(f"{key} is missing; send a list of strings", field=key)
    if not isinstance(value, list):
        raise BadRequestError(f"{key} must be a list of strings, not {kind(value)}", field=key)
    if len(value) > max_count:
        raise TooLargeError(
            f"{key} has {len(value)} entries; this server takes {max_count} at a time", field=key
        )
    return value


def flag(body: Mapping[str, object], key: str) -> bool:
    """Return an optional boolean, False by default; "true" and "false" as strings are taken."""
    return optional_flag(body, key) or False


def optional_flag(body: Mapping[str, object], key: str) -> bool | None:
    """Return an optional boolean; "true" and "false" as strings are taken."""
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        value = _FLAG_WORDS.get(value.lower(), value)
    if not isinstance(value, bool):
        raise BadRequestError(f"{key} must be true or false, not {kind(value)}", field=key)
    return value


def count(body: Mapping[str, object], key: str) -> int | None:
    """Return an optional whole number of at least 1."""
    value = _whole(body.get(key))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequestError(f"{key} must be a whole number, not {kind(value)}", field=key)
    if value < 1:
        raise BadRequestError(f"{key} must be at least 1", field=key)
    return value


def top(body: Mapping[str, object], key: str) -> int | None:
    """Return how many results are asked for; None, and so 0, means all."""
    value = _whole(body.get(key))
    if isinstance(value, bool) or not isinstance(value, int | None):
        raise BadRequestError(f"{key} must be a whole number, not {kind(value)}", field=key)
    if value is not None and value < 0:
        raise BadRequestError(f"{key} must be at least 1, or 0 for all", field=key)
    return value or None


def _whole(value: object) -> object:
    """Return the number that some languages can only write as 2.0; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def word(body: Mapping[str, object], key: str, words: Sequence[str]) -> str:
    """Return one of these words; the first of them if the body has none."""
    value = body.get(key)
    if value is None:
        return words[0]
    if not isinstance(value, str) or value not in words:
        raise BadRequestError(f"{key} must be {' or '.join(words)}", field=key)
    return value


def name(body: Mapping[str, object], key: str) -> str | None:
    """Return an optional string; an empty one counts as missing."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRequestError(f"{key} must be a string, not {kind(value)}", field=key)
    return value or None


def names(body: Mapping[str, object], key: str) -> list[str]:
    """Return an optional list of strings, empty by default."""
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not set(map(type, value)) <= {str}:
        raise BadRequestError(f"{key} must be a list of strings", field=key)
    return value


def section(body: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return an optional object, empty by default."""
    value = body.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequestError(f"{key} must be an object, not {kind(value)}", field=key)
    return value


@contextmanager
def within(key: str) -> Iterator[None]:
    """Have errors name what is wrong as a part of the object under that key."""
    try:
        yield
    except (BadRequestError, TooLargeError) as error:
        kind_of = type(error)
        raise kind_of(f"{key}.{error.message}", field=f"{key}.{error.field}") from None


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
