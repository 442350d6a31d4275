"""Carries out a page: its commands run, and print what the page shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import lack

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"(?<![\w/-])\d+(\.\d+)?|\bNaN\b")
_SEED_ROOT = "/opt/bge-rerankers"
_SHIM = """\
#!/bin/sh
if [ "$1" = start ]; then set -- "$@" --port {port}; fi
exec {python} -P -m rerank_server "$@"
"""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: `bash` is run, `text` and `json` are what the block before it prints."""

    kind: str
    text: str
    line: int


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


class Reader:
    """Someone who does what a page says, in a directory of their own."""

    def __init__(self, root: Path, port: int, config: str) -> None:
        """Work in `root`, which stands for the page's own directory; serve on `port`."""
        self._root, self._port = root, port
        shim = root / "bin" / "rerank-server"
        shim.parent.mkdir()
        shim.write_text(_SHIM.format(port=port, python=sys.executable))
        shim.chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{shim.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "80",
            "RERANK_SERVER_CONFIG": config,
            "RERANK_SERVER_RUN_DIR": str(root / "run"),
            "RERANK_SERVER_STATE_DIR": str(root / "state"),
        }

    def carries_out(self, page: Path) -> None:
        """Run every `bash` block in turn and compare what it prints with what the page shows.

        Numbers and runs of blanks may differ; `...` stands for anything.
        """
        printed = ""
        for block in blocks(page.read_text()):
            place = f"{page.name}:{block.line}"
            match block.kind:
                case "bash":
                    printed = self.run(block.text, place)
                case "text":
                    shown = _pattern(self._here(block.text))
                    assert re.fullmatch(shown, _plain(printed)), f"{place} printed:\n{printed}"
                case "json":
                    assert _shape(json.loads(printed)) == _shape(json.loads(block.text)), place
                case _:
                    pass

    def run(self, commands: str, place: str) -> str:
        """Run commands as bash does that stops at the first failure; return what they print."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._here(commands)],
            cwd=self._root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode == 127:
            lack(f"{place}: {done.stderr}")
        assert done.returncode == 0, f"{place}: {done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        """Stop what the page left running."""
        self.run("rerank-server stop || true", "the end")

    def _here(self, text: str) -> str:
        port = f":{self._port}"
        return text.replace(_SEED_ROOT, str(self._root)).replace(":8000", port)


def _plain(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.strip().splitlines())
    return _NUMBER.sub("0", "\n".join(lines))


def _pattern(text: str) -> str:
    return re.escape(_plain(text)).replace(re.escape("..."), r"[\s\S]*")


def _shape(value: object) -> object:
    """Return a JSON value with every number as 0, and the keys of an object without an order."""
    match value:
        case dict():
            return {key: _shape(item) for key, item in value.items()}
        case list():
            return [_shape(item) for item in value]
        case bool() | str() | None:
            return value
        case _:
            return 0
