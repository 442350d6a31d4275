"""Reads this repository's Python files: their names as modules, and what each of them imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, and where."""

    module: str
    place: str
    """`path:line`."""
    is_for_types: bool
    """Under `if TYPE_CHECKING`: never carried out."""


def modules(directory: str, package: str) -> Mapping[str, Path]:
    """Return the files under `directory` by their module name within `package`."""
    found = {}
    for path in sorted((ROOT / directory).rglob("*.py")):
        parts = path.relative_to(ROOT / directory).with_suffix("").parts
        name = ".".join((package, *parts)).removesuffix(".__init__")
        found[name] = path
    return found


SERVER = modules("rerank_server", "rerank_server")
WORKERS = modules("workers/rerank_workers", "rerank_workers")
KNOWN = {**SERVER, **WORKERS}


def imports(path: Path) -> Iterator[Import]:
    """Yield every import in the file, those inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for module in _named(node):
            yield Import(module, place, id(node) in typing_only)


def _named(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module, names, level):
            assert level == 0, "imports are absolute here"
            assert module is not None
            for alias in names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in KNOWN else module


def closure(package: str) -> Iterator[Import]:
    """Yield what importing any module of `package` may carry out, through our own modules."""
    todo = [name for name in KNOWN if name == package or name.startswith(package + ".")]
    seen = set(todo)
    while todo:
        for found in imports(KNOWN[todo.pop()]):
            if found.is_for_types:
                continue
            yield found
            parts = found.module.split(".")
            ours = {".".join(parts[:n]) for n in range(1, len(parts) + 1)} & KNOWN.keys()
            todo += sorted(ours - seen)
            seen |= ours
