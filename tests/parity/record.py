"""Runs the references of one environment and writes, or checks, their golden values.

`python -m tests.parity.record now|before MODELS_DIR`, inside that environment (see `derive`).
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from tests.parity import references, tiny_models
from tests.parity.cases import CASES, MINILM, Case, Golden

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-4
_LIBRARIES = (
    "FlagEmbedding",
    "sentence-transformers",
    "mxbai-rerank",
    "transformers",
    "tokenizers",
    "torch",
)


def main(environment: str, models: Path) -> None:
    """Go through the cases of an environment."""
    warnings.simplefilter("ignore")
    GOLDEN.mkdir(exist_ok=True)
    for case in CASES:
        if environment not in case.environments:
            continue
        with tempfile.TemporaryDirectory() as directory:
            golden = _scores(case, _model(case, Path(directory), models))
        path = GOLDEN / f"{case.name}.json"
        if environment == case.environments[0]:
            _write(path, golden)
            print(f"{case.name}: recorded")
        else:
            recorded: Golden = json.loads(path.read_text(encoding="utf-8"))["scores"]
            worst = max(_distance(golden[length], recorded[length]) for length in golden)
            print(f"{case.name}: differs by at most {worst:.1e} from {case.environments[0]}")
            if worst > TOLERANCE:
                raise SystemExit(f"{case.name}: two environments of the reference disagree")


def _scores(case: Case, model: Path) -> Golden:
    """Score in large batches; in small ones and backwards the reference must say the same."""
    score = getattr(references, case.reference)
    golden: Golden = {}
    for length in case.max_lengths:
        scores = score(model, case.pairs, length, 64, case.options)
        again = score(model, case.pairs[::-1], length, 5, case.options)[::-1]
        distance = _distance(scores, again)
        if distance > TOLERANCE:
            raise SystemExit(f"{case.name}: the reference differs from itself by {distance}")
        golden[str(length)] = [round(value, 6) for value in scores]
    return golden


def _model(case: Case, directory: Path, models: Path) -> Path:
    """Lay a model and its tokenizer into one folder, as the references want them."""
    if case.model != MINILM:
        return tiny_models.build(case.model, directory) / "model"
    for part in ("model", "tokenizer"):
        shutil.copytree(models / MINILM / part, directory / "model", dirs_exist_ok=True)
    return directory / "model"


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _write(path: Path, golden: Golden) -> None:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    scores = ",\n  ".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in golden.items())
    path.write_text(
        f'{{"made_with": {json.dumps(versions)},\n "scores": {{\n  {scores}\n }}}}\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
