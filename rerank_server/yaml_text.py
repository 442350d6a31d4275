"""YAML text as plain values that know their lines; refuses what surprises people.

Only a plain `true` or `false` is a boolean; `yes`, `on`, `010`, `1:30` and dates, which YAML 1.1
turns into something else, stay the text they look like. A key is always its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from rerank_server.yaml_faults import describe

Key = tuple[str | int, ...]
"""Where a value stands: mapping keys and list indices from the root."""

Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]

LOADER: Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where PyYAML was built with it: twenty times faster."""

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 32
MAX_VALUES = 20_000
"""Most values after aliases are expanded: a few nested aliases can stand for billions."""

_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NUMBER_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the text, and where."""

    line: int
    key: Key
    text: str

    def at(self, path: str) -> str:
        """Return the line a person reads; `path` names the file."""
        where = f"{path}:{self.line}: "
        return f"{where}{dotted(self.key)}: {self.text}" if self.key else where + self.text


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values (dict, list, str, int, float, bool, None) and the line of each key."""

    value: object
    lines: Mapping[Key, int]
    problems: tuple[Problem, ...]
    """What is wrong but did not hinder reading on: duplicate keys, unusable characters."""

    def problem(self, key: Key, text: str) -> Problem:
        """Return a problem at the line of `key`, or of the nearest key above it."""
        known = key
        while known and known not in self.lines:
            known = known[:-1]
        return Problem(self.lines.get(known, 1), key, text)


def dotted(key: Key) -> str:
    """Return a key as people write it: `versions.v1.env`, `steps[0]`."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{part if _is_plain(part) else shown(part)}"
        for part in key
    )
    return "".join(parts).removeprefix(".")


def shown(value: object) -> str:
    """Return a value as a message shows it: short, on one line, without control characters."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            text = str(value)
            return text if len(text) <= 40 else text[:40] + "…"
        case str():
            return repr(value if len(value) <= 60 else value[:60] + "…")
        case dict():
            return "a mapping"
    return "a list"


def read(text: str, *, loader: Loader = LOADER) -> Document | Problem:
    """Return the document in `text`, or the one problem that keeps it from being read."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_CHARACTERS:
        return Problem(1, (), f"the file is longer than {MAX_CHARACTERS} characters")
    if strange := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, strange.start()) + 1
        return Problem(line, (), f"holds the character U+{ord(strange[0]):04X}; remove it")
    composer = _Composer()
    try:
        for event in yaml.parse(text, Loader=loader):
            composer.take(event)
    except _Unreadable as stop:
        return stop.problem
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        line, sentence = describe(error, text)
        return Problem(line, (), sentence)
    return Document(composer.value, composer.lines, tuple(composer.problems))


def _is_plain(name: str) -> bool:
    return len(name) <= 64 and re.fullmatch(r"[\w./-]+", name) is not None


class _Unreadable(Exception):
    def __init__(self, event: yaml.Event, text: str) -> None:
        self.problem = Problem(_line(event), (), text)


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None  # parsers mark every event; only hand-made ones have none
    return int(event.start_mark.line) + 1


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end was not read yet."""

    key: Key
    value: dict[str, object] | list[object]
    anchor: str | None
    count_before: int
    name: str | None = None
    """The mapping key whose value comes next."""
    is_duplicate: bool = False

    @property
    def awaits_name(self) -> bool:
        return self.name is None and isinstance(self.value, dict)


@dataclass(slots=True)
class _Composer:
    """Builds the values from parser events, without recursion."""

    value: object = None
    lines: dict[Key, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _stack: list[_Open] = field(default_factory=list)
    _anchors: dict[str, tuple[object, int]] = field(default_factory=dict)
    """Finished values by anchor, with the number of values in each."""
    _count: int = 0
    _documents: int = 0

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _Unreadable(event, "a second document starts here; keep only one")
            case yaml.ScalarEvent() | yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                if event.tag is not None:
                    raise _Unreadable(event, "tags (!...) are not taken here; remove it")
                self._node(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._stack.pop()
                self._remember(done.anchor, done.value, self._count - done.count_before)
                self._place(done.value)

    def _node(
        self, event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent
    ) -> None:
        if self._stack and self._stack[-1].awaits_name:
            self._name(self._stack[-1], event)
            return
        key = self._enter(event)
        before = self._count
        self._grow(event, 1)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, key)
            self._remember(event.anchor, value, 1)
            self._place(value)
            return
        if len(self._stack) >= MAX_DEPTH:
            raise _Unreadable(event, f"nested more than {MAX_DEPTH} levels deep")
        empty: dict[str, object] | list[object]
        empty = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Open(key, empty, event.anchor, before))

    def _name(self, parent: _Open, event: yaml.Event) -> None:
        if not isinstance(event, yaml.ScalarEvent) or _CONTROL.search(event.value):
            raise _Unreadable(event, "a key must be a plain word")
        name = event.value
        if name == "<<" and event.implicit[0]:
            raise _Unreadable(
                event, "merge keys (<<) are not taken here; shared settings go in global_config"
            )
        key = (*parent.key, name)
        parent.name = name
        parent.is_duplicate = name in parent.value
        if parent.is_duplicate:
            first = self.lines[key]
            text = f"given twice, first on line {first}; keep one"
            self.problems.append(Problem(_line(event), key, text))
        else:
            self.lines[key] = _line(event)

    def _enter(self, event: yaml.Event) -> Key:
        """Return the key of the value that starts with `event`."""
        if not self._stack:
            return ()
        parent = self._stack[-1]
        if parent.name is not None:
            return (*parent.key, parent.name)
        key = (*parent.key, len(parent.value))
        self.lines[key] = _line(event)
        return key

    def _scalar(self, event: yaml.ScalarEvent, key: Key) -> object:
        if event.implicit[0]:
            return _resolve(event.value)
        if found := _CONTROL.search(event.value):
            text = f"holds the character U+{ord(found[0]):04X}, which no value may; remove it"
            self.problems.append(Problem(_line(event), key, text))
        return _CONTROL.sub("", event.value)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if self._stack and self._stack[-1].awaits_name:
            raise _Unreadable(event, "a key must be a plain word")
        if event.anchor not in self._anchors:
            raise _Unreadable(event, f"'*{event.anchor}' names no finished anchor above it")
        value, count = self._anchors[event.anchor]
        self._enter(event)
        self._grow(event, count)
        self._place(value)

    def _grow(self, event: yaml.Event, count: int) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            raise _Unreadable(event, f"more than {MAX_VALUES} values, aliases included")

    def _remember(self, anchor: str | None, value: object, count: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, count)

    def _place(self, value: object) -> None:
        if not self._stack:
            self.value = value
            return
        parent = self._stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
            return
        assert parent.name is not None
        if not parent.is_duplicate:
            parent.value[parent.name] = value
        parent.name = None


def _resolve(text: str) -> object:
    """Return what a plain, unquoted word means."""
    match text:
        case "" | "~" | "null":
            return None
        case "true" | "false":
            return text == "true"
    if len(text) <= _NUMBER_LENGTH:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text
