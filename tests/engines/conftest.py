"""Tiny versions with a graph, each made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.graphs import Make, write
from tests.families import tiny


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make a tiny version of an architecture with a variant in model_cpu/, each once."""
    made: dict[tuple[str, str], Path] = {}

    def make(architecture: str, variant: str) -> Path:
        if (architecture, variant) not in made:
            directory = tmp_path_factory.mktemp("ir")
            # Not 32 wide: OpenVINO 2026.4 then computes wrong numbers in bf16 with int8 weights
            # (seen with AMX; `optimize` would refuse such a variant).
            tiny.torch_version(
                directory,
                architecture,
                hidden_size=128,
                intermediate_size=256,
                initializer_range=0.1,
            )
            made[architecture, variant] = write(directory, variant)
        return made[architecture, variant]

    return make
