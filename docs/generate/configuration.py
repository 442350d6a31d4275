"""The reference of config.yaml: types from the models, meanings from the comments in etc/."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rerank_server.config import Config
from rerank_server.config_wording import ITEM, sections
from rerank_server.yaml_text import Key

SHIPPED = Path(__file__).parents[2] / "etc" / "config.yaml"
DOCUMENTED = re.compile(r"^(?P<in> *)(?P<mark>##?) (?P<body>(?P<nest> *)(?P<key>\w+):.*)$")
_TOLD = re.compile(r"( (?P<default>\S.*?))?   # (?P<meaning>\S.*)")
_LIVE = re.compile(r"^(?P<in> *)(?P<key>[\w.-]+):")
_EXAMPLE = "v2-m3"
"""The version whose keys are all documented in the shipped file."""

_HEAD = """\
# Configuration

<!-- Made by: python -m docs.generate -->

One YAML file says which versions run and how: `rerank-server init --config` writes one with every
key explained, `rerank-server check` finds all that is wrong with it, `rerank-server config` shows
what holds and where it comes from, `rerank-server reload` makes a running server take it on.

A key that is unknown, misplaced, of the wrong type or out of range is refused with its line and
the nearest right name; nothing is clamped or ignored. Only `true` and `false` are booleans.
"""


@dataclass(frozen=True, slots=True)
class Told:
    """One documented key: its section and name, its default as written, its meaning."""

    key: Key
    default: str | None
    meaning: str


def told_keys(text: str) -> Iterator[Told]:
    """Read the lines `# key: default   # meaning`; their indent tells the section.

    Raises:
        ValueError: a documented key lacks its meaning.
    """
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        documented = DOCUMENTED.match(line)
        found = documented or _LIVE.match(line)
        if found is None:
            continue
        indent = len(found["in"]) + (len(documented["nest"]) if documented else 0)
        above = [(depth, name) for depth, name in above if depth < indent]
        if documented:
            told = _TOLD.fullmatch(documented["body"].partition(":")[2])
            if told is None:
                raise ValueError(f"no meaning: {line}")
            key = tuple(name for _, name in above)
            yield Told((*key, found["key"]), told["default"], told["meaning"])
        above.append((indent, found["key"]))


def page(text: str) -> str:
    """Return the page; `text` is the shipped file."""
    told = {one.key: one for one in told_keys(text)}
    parts = [_HEAD]
    for place, model in sections(Config).items():
        parts.append(_section(place, model, told))
    return "\n".join(parts)


def _section(place: Key, model: type[BaseModel], told: Mapping[Key, Told]) -> str:
    named = tuple(part for part in place if part != ITEM)
    name = ".".join("NAME" if part == "*" else str(part) for part in named)
    above = tuple(_EXAMPLE if part == "*" else part for part in named)
    title = f"`{name}`" if place else "Top level"
    lines = [f"## {title}", "", _purpose(above, model, told), ""]
    lines += ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    for key, field in model.model_fields.items():
        one = told[(*above, key)]
        default = "" if one.default is None else _cell(one.default)
        if default not in ("", "required"):
            default = f"`{default}`"
        value = _cell(_field_words(field))
        lines.append(f"| `{key}` | {value} | {default} | {_cell(one.meaning)} |")
    return "\n".join([*lines, ""])


def _purpose(above: Key, model: type[BaseModel], told: Mapping[Key, Told]) -> str:
    """Return what a section is for: as the file says, else as the model does."""
    if above in told:
        meaning = told[above].meaning
        return f"{meaning[:1].upper()}{meaning[1:]}."
    return (model.__doc__ or "").strip().partition("\n")[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def _field_words(field: FieldInfo) -> str:
    return words(field.annotation, field.metadata)


def words(annotation: object, bounds: Sequence[object] = ()) -> str:
    """Return what a value may be, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        metadata = arguments[1].metadata if isinstance(arguments[1], FieldInfo) else arguments[1:]
        return words(arguments[0], metadata)
    if origin in (Union, UnionType):
        (kind,) = [one for one in arguments if one is not type(None)]
        return f"{words(kind)}, or null"
    if origin is Literal:
        return " or ".join((", ".join(f"`{one}`" for one in arguments[:-1]), f"`{arguments[-1]}`"))
    if origin is list:
        if isinstance(arguments[0], type) and issubclass(arguments[0], BaseModel):
            return "a list of sections"
        return f"list of {words(arguments[0])}"
    if origin is dict:
        if isinstance(arguments[1], type) and issubclass(arguments[1], BaseModel):
            return "a section for each name"
        return f"names and their {words(arguments[1])}s"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a section"
    plain = {bool: "`true` or `false`", str: "text", int: "whole number", float: "number"}
    assert isinstance(annotation, type)
    return plain[annotation] + _range(bounds)


def _range(bounds: Sequence[object]) -> str:
    low = high = ""
    for bound in bounds:
        match bound:
            case Ge(ge=value):
                low = f"{value}"
            case Gt(gt=value):
                low = f"above {value}"
            case Le(le=value):
                high = f"{value}"
    return f", {low} to {high}" if low and high else ""
