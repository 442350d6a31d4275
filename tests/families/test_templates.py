"""The templates: each works as a version's rerank.py, imported by hand or loaded by a worker."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import rerank_workers
from rerank_workers.scorer import Context
from tests.parity import tiny_models

from . import tiny

TEMPLATES = Path(rerank_workers.__file__).parent / "templates"
DOCS = [text for text in tiny.GRID if text.strip()]
MODELS = {
    "rerank_template": "bert",
    "cross_encoder": "xlmr",
    "bi_encoder": "plain_bert",
    "late_interaction": "plain_bert",
    "yes_logit": "gemma",
    "layerwise": "minicpm-layerwise",
    "lightweight": "gemma2-lightweight",
    "yes_no": "qwen3",
}


def imported(directory: Path, template: str) -> ModuleType:
    shutil.copyfile(TEMPLATES / f"{template}.py", directory / "rerank.py")
    spec = importlib.util.spec_from_file_location("rerank", directory / "rerank.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=MODELS)
def version(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ModuleType, Path]:
    """A version with a template as its rerank.py."""
    model = MODELS[request.param]
    if model in tiny_models.MODELS:
        source = request.getfixturevalue("tiny_llm")(model)
    else:
        source = request.getfixturevalue(model)
    directory = Path(shutil.copytree(source, tmp_path / "v9"))
    return imported(directory, request.param), directory


def test_every_template_is_tried_here() -> None:
    assert {path.stem for path in TEMPLATES.glob("*.py")} == set(MODELS)


def test_by_hand_and_through_load_the_scores_are_equal(version: tuple[ModuleType, Path]) -> None:
    module, directory = version
    scorer = module.load(Context("v9", directory, threads=2))

    by_hand = module.rerank("which jet?", DOCS)

    raw = scorer.score(scorer.encode("which jet?", DOCS))
    assert by_hand == pytest.approx(scorer.to_unit(raw), abs=1e-5)
    assert all(isinstance(score, float) and 0.0 <= score <= 1.0 for score in by_hand)
    assert len(by_hand) == len(DOCS)


def test_many_documents_are_scored_in_order(version: tuple[ModuleType, Path]) -> None:
    module, _ = version

    scores = module.rerank("which jet?", DOCS * 5)

    assert scores == pytest.approx(module.rerank("which jet?", DOCS) * 5, abs=1e-5)


def test_no_documents_give_no_scores(version: tuple[ModuleType, Path]) -> None:
    module, _ = version

    assert module.rerank("which jet?", []) == []


def test_a_version_with_only_a_cpu_model_works_by_hand(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=False)
    (tmp_path / "model").rename(tmp_path / "model_cpu")

    module = imported(tmp_path, "rerank_template")

    assert len(module.rerank("jet", ["comet", "boeing"])) == 2


def test_importing_a_version_loads_nothing(tmp_path: Path) -> None:
    module = imported(tmp_path, "rerank_template")

    assert callable(module.rerank)


@pytest.mark.process
def test_a_version_works_from_a_shell_in_its_directory(bert: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(bert, tmp_path / "v9"))
    module = imported(directory, "rerank_template")
    program = "import json, rerank; print(json.dumps(rerank.rerank('jet', ['comet', 'boeing'])))"

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    expected = module.rerank("jet", ["comet", "boeing"])
    assert json.loads(done.stdout) == pytest.approx(expected, abs=1e-5)
