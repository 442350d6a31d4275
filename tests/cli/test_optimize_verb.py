from __future__ import annotations

import hashlib
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.cli.place import FAMILY, Place
from tests.conftest import lack
from tests.families import tiny

pytestmark = pytest.mark.process  # each optimisation is a process of its own


@pytest.fixture
def place(short_dir: Path) -> Place:
    return Place(short_dir)


@pytest.fixture
def requests(short_dir: Path) -> Path:
    """Two labelled requests of the kind the MiniLM model knows."""
    path = short_dir / "labelled.jsonl"
    docs = [
        f"{subject} {fact}."
        for subject in ("The Comet", "Paris", "An egg", "The jet engine", "A good wine")
        for fact in ("is known the world over", "was first seen in 1952", "needs twelve minutes")
    ]
    lines = [
        {"query": "how long do you boil an egg?", "docs": docs, "relevant": [8]},
        {"query": "when did the Comet fly?", "docs": docs, "relevant": [1]},
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def needs_openvino() -> None:
    for module in ("openvino", "nncf"):
        if find_spec(module) is None:
            lack(f"no {module}; the extra openvino is not installed")


def test_a_variant_that_loses_too_much_is_refused_with_its_figures(
    place: Place, requests: Path
) -> None:
    needs_openvino()
    directory = place.version("v1", FAMILY)
    # Logits in the hundreds: whatever is rounded moves them by more than half a one.
    tiny.torch_version(directory, "BertForSequenceClassification", initializer_range=20.0)
    place.configure(v1={"threads": 1})

    done = place.run("optimize", "v1", "--labelled", str(requests))

    assert (done.code, done.out[0].split()[0]) == (1, "variant")
    refused = [line for line in done.out if line.startswith("int8 dynamic")]
    assert refused[0].endswith("refused")
    assert "more than 0.5" in refused[1] or "is below" in refused[1]
    assert done.err[0] == "v1: score with the original (2%)"
    assert done.err[-1] == "error: v1: every variant was refused; nothing changed"
    assert not (directory / "model_cpu").exists()


@pytest.mark.weights
def test_what_was_made_of_the_demo_is_installed_and_what_to_do_next_is_said(
    place: Place, demo_models: Path, requests: Path
) -> None:
    needs_openvino()
    directory = place.models / "v2-minilm"
    shutil.copytree(demo_models / "v2-minilm", directory)
    place.configure(v2_minilm={"max_length": 64})

    kept = place.run("optimize", "v2-minilm", "--labelled", str(requests))
    made = place.run("optimize", "v2-minilm", "--labelled", str(requests), "--force")

    assert (kept.code, len(kept.err)) == (1, 1)
    assert "is there already; --force replaces it" in kept.err[0]
    assert made.code == 0
    assert [line.split("  ")[0] for line in made.out[:4]] == [
        "variant", "original", "bfloat16", "int8 dynamic",
    ]  # fmt: skip
    assert made.out[-2].startswith("installed: ")
    assert made.out[-1].startswith(
        "next: set versions.v2-minilm.cpu_model: model_cpu in config.yaml, then run: "
        "rerank-server reload"
    )
    assert (directory / "model_cpu" / "openvino.xml").is_file()
    assert (directory / "model_cpu.previous" / "model.onnx").is_file()


def test_without_the_extra_the_one_line_names_it(place: Place, short_dir: Path) -> None:
    directory = place.version("v1", FAMILY)
    tiny.torch_version(directory, "BertForSequenceClassification")
    (directory / "requirements.txt").write_text("")
    python = directory / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # Stands for the interpreter of an environment that lacks the extra.
    python.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys\n'
        "sys.modules['openvino'] = None\n"
        "from rerank_workers.optimize.__main__ import main\n"
        'sys.exit(main(sys.argv[4:]))" "$@"\n'
    )
    python.chmod(0o755)
    stamp = {"requirements_sha256": hashlib.sha256(b"").hexdigest()}
    (directory / ".venv" / "rerank-server.stamp").write_text(json.dumps(stamp))
    place.configure(v1={})

    done = place.run("optimize", "v1")

    assert done == Done(
        1,
        [],
        [
            "error: openvino is not installed; "
            "install it with: pip install 'rerank-server[openvino]'"
        ],
    )
