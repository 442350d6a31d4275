"""Models whose forward pass is code in their own folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rerank_workers.engines.files import ModelFilesError
from rerank_workers.families import cross_encoder
from rerank_workers.scorer import Context

_CODE = """
from transformers import BertConfig, BertForSequenceClassification


class NewConfig(BertConfig):
    model_type = "new"


class NewForSequenceClassification(BertForSequenceClassification):
    config_class = NewConfig

    def forward(self, **inputs):
        result = super().forward(**inputs)
        result.logits = result.logits + 100.0
        return result
"""


@pytest.fixture
def own_code(bert: Path, tmp_path: Path) -> Path:
    directory = Path(shutil.copytree(bert, tmp_path / "v9"))
    path = directory / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {
        "model_type": "new",
        "architectures": ["NewForSequenceClassification"],
        "auto_map": {
            "AutoConfig": "new.NewConfig",
            "AutoModelForSequenceClassification": "new.NewForSequenceClassification",
        },
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    (directory / "model" / "new.py").write_text(_CODE, encoding="utf-8")
    return directory


def test_a_models_own_code_is_not_run_and_the_constant_is_named(own_code: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"set TRUST_REMOTE_CODE = True in rerank\.py"):
        cross_encoder.load(Context("v9", own_code))


@pytest.mark.process
def test_a_models_own_code_is_run_when_told(own_code: Path, bert: Path, tmp_path: Path) -> None:
    # In a process of its own: transformers keeps a copy of such code under HF_HOME, for good.
    program = (
        "import sys; from pathlib import Path\n"
        "from rerank_workers.families import cross_encoder\n"
        "from rerank_workers.scorer import Context\n"
        "loaded = cross_encoder.load(Context('v9', Path(sys.argv[1])), trust_remote_code=True)\n"
        "print(*loaded.score(loaded.encode('jet', ['comet'])), loaded.info['forward'])\n"
    )
    plain = cross_encoder.load(Context("v1", bert))
    (expected,) = plain.score(plain.encode("jet", ["comet"]))

    done = subprocess.run(
        [sys.executable, "-c", program, str(own_code)],
        env={**os.environ, "HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    score, forward, *_ = done.stdout.split()
    assert float(score) == pytest.approx(expected + 100.0, abs=1e-4)
    assert forward == "transformers"


def test_a_missing_tensor_of_a_model_with_own_code_names_the_constant_too(
    bert: Path, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(bert, tmp_path / "v9"))
    path = directory / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"num_hidden_layers": 9, "auto_map": {"AutoConfig": "x.Y"}}
    path.write_text(json.dumps(config), encoding="utf-8")

    with pytest.raises(ModelFilesError, match=r"is missing; the model brings code of its own"):
        cross_encoder.load(Context("v9", directory))
