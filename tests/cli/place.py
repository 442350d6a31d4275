"""Versions and a configuration for the verbs that need no server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cli.conftest import Done, finished, program

_LONGEST_S = 110
"""torch and OpenVINO take their time to be imported on a busy machine."""

FAMILY = """
from rerank_workers.families import registry

def load(context):
    return registry.load(context)

def rerank(query, docs): ...
"""


class Place:
    """Versions, a configuration and a state dir."""

    def __init__(self, root: Path) -> None:
        self.models = root / "models"
        self.state = root / "state"
        self._config = root / "config.yaml"
        self._run = root / "run"

    def version(self, name: str, code: str) -> Path:
        """Make a version's directory with its rerank.py."""
        directory = self.models / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "rerank.py").write_text(code)
        return directory

    def configure(self, **versions: Mapping[str, object]) -> None:
        """Write the configuration; underscores in names stand for hyphens."""
        named = {name.replace("_", "-"): dict(value) for name, value in versions.items()}
        config = {
            "default_version": next(iter(named)),
            "models_dir": str(self.models),
            "global_config": {"use_fp16": False},
            "versions": named,
        }
        self._config.write_text(yaml.safe_dump(config, sort_keys=False))

    def run(self, verb: str, *words: str) -> Done:
        """Run a verb on this place."""
        places = ["--config", str(self._config), "--run-dir", str(self._run)]
        if verb == "verify":
            places += ["--state-dir", str(self.state)]
        return finished(program(verb, *words, *places), timeout_s=_LONGEST_S)

    def verified(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Verify one version; return the exit code and what was found of it."""
        done = self.run("verify", "--json", *words)
        (found,) = json.loads("\n".join(done.out))["versions"]
        return done.code, found
