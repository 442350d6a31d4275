from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.contract.source_tree import ROOT, SERVER, WORKERS, closure, imports

RANK = {
    "cli": 4,
    "supervisor": 3,
    "gateway": 3,
    "catalog": 3,
    "core": 2,
    "config": 1,
    "errors": 0,
    "names": 0,
    "logs": 0,
}
"""cli -> supervisor | gateway | catalog -> core -> config -> errors, and two leaves beside them."""

ROOM_OF = {
    "__main__": "cli",
    "config_rules": "config",
    "config_section": "config",
    "config_cascade": "config",
    "config_traffic": "config",
    "config_wording": "config",
    "yaml_faults": "config",
    "yaml_text": "config",
}
"""Modules at the top that belong to a room of another name."""

PURE = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "difflib",
    "enum",
    "hashlib",
    "itertools",
    "json",
    "math",
    "re",
    "types",
    "typing",
}
"""What of the standard library core may use: no clock, randomness, file, socket or process."""

MODELS = {"torch", "transformers", "numpy", "tokenizers", "safetensors", "onnxruntime"}
GATEWAY = {"starlette", "httpx", "uvicorn", "gunicorn"}


def room_of(module: str) -> str | None:
    """Return the room a module of the server stands in; None for the bare package."""
    _, _, rest = module.partition(".")
    top = rest.partition(".")[0]
    return ROOM_OF.get(top, top) or None


def test_every_module_stands_in_a_room() -> None:
    homeless = {name for name in SERVER if room_of(name) not in {*RANK, None}}

    assert not homeless, f"give them a room in this test: {sorted(homeless)}"


def test_imports_go_down_the_rooms_never_up_and_never_to_a_sibling() -> None:
    wrong = []
    for name, path in SERVER.items():
        room = room_of(name)
        for found in imports(path):
            target = room_of(found.module) if found.module in SERVER else None
            if target is None or target == room:
                continue
            if room is None or RANK[target] >= RANK[room]:
                wrong.append(f"{found.place}: {room} imports {found.module}")

    assert not wrong, "\n".join(wrong)


def test_core_imports_nothing_impure() -> None:
    wrong = [
        f"{found.place}: {found.module}"
        for name, path in SERVER.items()
        if room_of(name) == "core"
        for found in imports(path)
        if room_of(found.module) not in ("core", "names", "errors")
        if found.module.partition(".")[0] not in PURE
    ]

    assert not wrong, "\n".join(wrong)


def test_core_calls_no_builtin_that_reads_or_writes() -> None:
    impure = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.id}"
        for name, path in SERVER.items()
        if room_of(name) == "core"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id in impure
    ]

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(SERVER, "rerank_workers"), (WORKERS, "rerank_server")],
    ids=["server", "workers"],
)
def test_server_and_workers_import_nothing_of_each_other(
    ours: Mapping[str, Path], theirs: str
) -> None:
    wrong = [
        f"{found.place}: {found.module}"
        for path in ours.values()
        for found in imports(path)
        if found.module.partition(".")[0] == theirs
    ]

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("rerank_server.supervisor", MODELS | GATEWAY),
        ("rerank_server.gateway", MODELS | {"pydantic", "yaml"}),
    ],
)
def test_a_room_that_must_stay_small_never_imports(package: str, forbidden: set[str]) -> None:
    wrong = {
        f"{found.place}: {found.module}"
        for found in closure(package)
        if found.module.partition(".")[0] in forbidden
    }

    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("rerank_server.supervisor.main", MODELS | GATEWAY),
        ("rerank_server.gateway.main", MODELS | {"pydantic", "yaml", "httpx"}),
        ("rerank_server.cli", MODELS | {"pydantic", "yaml", "httpx", "starlette", "asyncio"}),
    ],
)
def test_what_these_packages_bring_along_stays_small_too(module: str, forbidden: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"

    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert forbidden.intersection(done.stdout.split()) == set()
