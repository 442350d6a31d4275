"""Builds HTML and SVG in which every text is escaped, since nothing else can be put in."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_VOID = frozenset({"meta", "link", "br"})


class Html(str):
    """Markup: what `element` made, or a constant of this package."""

    __slots__ = ()


Child = str | None
"""A plain string is a text and is escaped; None is nothing."""


def element(tag: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """Return an element; `class_` is `class`, `stroke_width` is `stroke-width`.

    An attribute that is None or False is left out, one that is True has no value.
    """
    shown = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{shown}>")
    return Html(f"<{tag}{shown}>{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Html:
    """Return the children one after the other."""
    return Html("".join(_child(child) for child in children if child is not None))


def _child(child: str) -> str:
    return child if isinstance(child, Html) else escape(child, quote=False)


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    shown = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {shown}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {shown}="{escape(text)}"'
