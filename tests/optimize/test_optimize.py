"""`optimize`: what it installs, what it refuses, and what it says meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rerank_workers.engines.files import IR_NAME, ModelFilesError
from rerank_workers.engines.ir import BFLOAT16, DYNAMIC, STATIC
from rerank_workers.families import cross_encoder
from rerank_workers.optimize.proof import Limits
from rerank_workers.optimize.texts import Request, made_up
from rerank_workers.scorer import Context
from tests.families import tiny

pytest.importorskip("openvino", reason="the extra openvino is not installed")
pytest.importorskip("nncf", reason="the extra openvino is not installed")

DOCS = tuple(f"{text} {number}" for number in range(4) for text in tiny.GRID if text.strip())
JUDGED = (Request("which jet?", DOCS[:20], (3,)), Request("comet 1952", DOCS[10:30], ()))
LOOSE = Limits(ndcg_loss=1, spearman=-1, top_overlap=0, max_deviation=0.5)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    return tiny.torch_version(
        tmp_path / "v1",
        "BertForSequenceClassification",
        hidden_size=128,
        intermediate_size=256,
        initializer_range=0.1,
    )


def run(
    version: Path, kinds: tuple[str, ...], limits: Limits = LOOSE
) -> tuple[str | None, dict[str, object], list[tuple[str, float]]]:
    from rerank_workers.optimize.optimizer import Plan, optimize

    told: list[tuple[str, float]] = []
    plan = Plan(version, kinds, JUDGED, tuple(made_up(DOCS)), threads=2, limits=limits)
    result = optimize(plan, lambda stage, share: told.append((stage, share)))
    return result.installed, dict(result.report), told


def test_the_fastest_variant_that_passes_is_installed_with_its_report(version: Path) -> None:
    (version / "model_cpu").mkdir()
    (version / "model_cpu" / "model.onnx").write_bytes(b"what stood there")

    installed, report, told = run(version, (BFLOAT16, DYNAMIC, STATIC))

    variants = report["variants"]
    assert isinstance(variants, dict)
    assert list(variants) == [BFLOAT16, DYNAMIC, STATIC]
    assert installed == max(variants, key=lambda kind: variants[kind]["speed_up"])
    folder = version / "model_cpu"
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "openvino.bin", IR_NAME, "optimize.json",
    }  # fmt: skip
    assert json.loads((folder / "optimize.json").read_text()) == report
    assert (version / "model_cpu.previous" / "model.onnx").read_bytes() == b"what stood there"
    assert not list(version.glob(".model_cpu.*"))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] < 1


def test_what_was_installed_scores_near_the_original(version: Path) -> None:
    run(version, (DYNAMIC,))

    exact, quick = (
        cross_encoder.load(Context("v1", version, model=model, threads=2))
        for model in ("model", "model_cpu")
    )
    items = exact.encode("which jet?", DOCS)
    assert quick.info["engine"].startswith("openvino ")
    assert quick.score(items) == pytest.approx(exact.score(items), abs=0.2)


def test_a_variant_that_loses_too_much_is_refused_and_nothing_changes(version: Path) -> None:
    (version / "model_cpu").mkdir()
    (version / "model_cpu" / "model.onnx").write_bytes(b"what stood there")

    installed, report, _ = run(version, (DYNAMIC,), Limits(max_deviation=0.0))

    assert installed is None
    variants = report["variants"]
    assert isinstance(variants, dict)
    assert any("a score moved by" in fault for fault in variants[DYNAMIC]["faults"])
    assert [path.name for path in (version / "model_cpu").iterdir()] == ["model.onnx"]
    assert not (version / "model_cpu.previous").exists()
    assert not list(version.glob(".model_cpu.*"))


def test_a_model_of_another_shape_is_refused(tmp_path: Path) -> None:
    tiny.torch_version(tmp_path, "BertModel")

    with pytest.raises(ModelFilesError, match="only cross-encoders of BERT's shape"):
        run(tmp_path, (DYNAMIC,))


def lines(*arguments: str) -> tuple[int, list[dict[str, object]]]:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "rerank_workers.optimize", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.process
def test_the_command_prints_json_lines_alone(version: Path, tmp_path: Path) -> None:
    texts = tmp_path / "docs.txt"
    texts.write_text("\n".join(f"Document {n} tells of the jet comet." for n in range(60)))

    code, said = lines(
        str(version), "--texts", str(texts), "--variant", "int8-static", "--requests", "2"
    )

    *stages, last = said
    assert [stage["stage"] for stage in stages][:2] == [
        "score with the original", "write int8 static",
    ]  # fmt: skip
    assert isinstance(last["report"], dict)
    assert code == (0 if last["installed"] else 1)


@pytest.mark.process
@pytest.mark.parametrize("name", ["absent", "short.txt"])
def test_the_command_tells_a_mistake_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "short.txt").write_text("one\ntwo\n")

    code, said = lines(str(tmp_path), "--texts", str(tmp_path / name))

    assert code == 1
    (last,) = said
    assert name in str(last["error"])
