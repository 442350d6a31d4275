"""What pydantic found wrong with the values, in words an operator can act on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from rerank_server.names import DEVICE, nearest
from rerank_server.yaml_text import Key, shown

Sections = Mapping[Key, type[BaseModel]]
"""The model of each section by its key; "*" stands for any name, ITEM for any item of a list."""

ITEM = "[]"
_BELOW: Mapping[object, Key] = {dict: ("*",), list: (ITEM,)}

_PATTERNS = {DEVICE: "auto, cpu, cuda or cuda:N"}
_REQUIRED = {
    "default_version": "; name the version that answers /rerank, such as v2-m3",
    "versions": "; list at least one version under it",
}
"""What to do about a key that must be there."""

_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
}
_BOOLEANS = {"true": "true", "yes": "true", "on": "true", "y": "true", "1": "true"} | {
    "false": "false",
    "no": "false",
    "off": "false",
    "n": "false",
    "0": "false",
}


def sections(root: type[BaseModel]) -> Sections:
    """Return every section a file for the model `root` may have, the root at ()."""
    return dict(_sections(root, ()))


def _sections(annotation: object, key: Key) -> Iterator[tuple[Key, type[BaseModel]]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield key, annotation
        for name, field in annotation.model_fields.items():
            yield from _sections(field.annotation, (*key, name))
        return
    below = (*key, *_BELOW.get(get_origin(annotation), ()))
    for part in get_args(annotation):
        yield from _sections(part, below)


def explain(error: ErrorDetails, known: Sections) -> tuple[Key, str]:
    """Return the key of one validation error and the sentence for it."""
    key: Key = tuple(error["loc"])
    kind, name, value = error["type"], str(key[-1]), error["input"]
    context: Mapping[str, object] = error.get("ctx", {})
    if kind == "extra_forbidden":
        return key, _unknown(key, known)
    if kind == "missing":
        return key, "is missing" + _REQUIRED.get(name, "")
    if value is None and name in _REQUIRED:
        return key, "is empty" + _REQUIRED[name]
    if "env" in key:  # its values may be secrets: not shown
        wanted = "a mapping of names to texts" if name == "env" else "text; put it in quotes"
        return key, f"must be {wanted}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return key, _not(f"{words} {_plain(context[bound])}", value)
    if kind == "literal_error":
        return key, _not_one_of(str(context["expected"]), value)
    if kind == "string_pattern_mismatch" and context["pattern"] in _PATTERNS:
        return key, _not(_PATTERNS[str(context["pattern"])], value)
    if kind in _TYPES:
        wanted, hint = _TYPES[kind]
        return key, _not(wanted, value, hint(value))
    return key, f"{error['msg']}, not {shown(value)}"


def _not(wanted: str, value: object, hint: str = "") -> str:
    if value is None:
        return f"is empty; write {wanted}, or remove the key"
    return f"must be {wanted}, not {shown(value)}{hint}"


def _boolean_hint(value: object) -> str:
    meant = _BOOLEANS.get(str(value).lower())
    return f"; write {meant}, in lower case and without quotes" if meant else ""


def _number_hint(value: object) -> str:
    is_number = isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value)
    return f"; write {value} without quotes" if is_number else ""


def _text_hint(value: object) -> str:
    if isinstance(value, bool | int | float):
        return f"; write '{shown(value)}' in quotes"
    return ""


def _mapping_hint(_: object) -> str:
    return "; write its keys below it, indented"


_TYPES: Mapping[str, tuple[str, Callable[[object], str]]] = {
    "bool_type": ("true or false", _boolean_hint),
    "int_type": ("a whole number", _number_hint),
    "float_type": ("a number", _number_hint),
    "string_type": ("text", _text_hint),
    "dict_type": ("a mapping", _mapping_hint),
    "list_type": ("a list", lambda _: ""),
    "model_type": ("a mapping", _mapping_hint),
}


def _not_one_of(expected: str, value: object) -> str:
    known = re.findall(r"'([^']*)'", expected)
    near = nearest(value, known) if isinstance(value, str) else None
    return _not(" or ".join((", ".join(known[:-1]), known[-1])), value, _did_you_mean(near))


def _did_you_mean(near: str | None) -> str:
    return f"; did you mean '{near}'?" if near else ""


def _plain(bound: object) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _unknown(key: Key, known: Sections) -> str:
    """Say where an unknown key belongs, which known one it is like, or what is known here."""
    name = str(key[-1])
    own: list[str] = []
    for place, model in known.items():
        if _is_at(key[:-1], place):
            own = list(model.model_fields)
        elif name in model.model_fields:
            return f"unknown key; it belongs {_where(place)}"
    near = nearest(name, own)
    return "unknown key" + (_did_you_mean(near) or f"; known here: {', '.join(own)}")


def _is_at(key: Key, place: Key) -> bool:
    return len(key) == len(place) and all(
        p in ("*", ITEM, k) for k, p in zip(key, place, strict=True)
    )


def _where(place: Key) -> str:
    if not place:
        return "at the top level"
    names = ("NAME" if part == "*" else str(part) for part in place if part != ITEM)
    return "under " + ".".join(names)
