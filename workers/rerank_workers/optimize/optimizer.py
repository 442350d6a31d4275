"""Makes `model_cpu/` of a version: writes variants, proves each, installs the fastest that passes.

Everything is written into a folder beside `model_cpu/` and renamed at the end; what stood there
before stays as `model_cpu.previous/`. A variant that loses more than the limits is never
installed, and neither is anything when all of them do: the report then says why.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from rerank_workers.engines.batch import Floats, Row
from rerank_workers.engines.bert_weights import BertWeights, arrange, supports
from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import IR_NAME, ModelFilesError, read_model_files
from rerank_workers.engines.ir import BFLOAT16, DYNAMIC, STATIC
from rerank_workers.engines.openvino_engine import OpenVinoEngine, load_openvino
from rerank_workers.engines.torch_bert import Bert
from rerank_workers.engines.torch_engine import TorchEngine
from rerank_workers.engines.torch_weights import read_weights
from rerank_workers.families import limits as lengths
from rerank_workers.families.cross_encoder import CrossEncoder
from rerank_workers.families.tokenizer import load_tokenizer
from rerank_workers.optimize import variants
from rerank_workers.optimize.proof import Limits, Proof, neighbours, race
from rerank_workers.optimize.quality import compare
from rerank_workers.optimize.texts import Request
from rerank_workers.scorer import Context

REPORT = "optimize.json"
_RACE_ROWS = 48
ORIGINAL = "original, float32"

Progress = Callable[[str, float], None]
"""Told the name of each stage as it begins, and the share of all work done by then."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make, and on which texts to judge it."""

    directory: Path
    """The version's."""
    kinds: tuple[str, ...]
    """Which variants to try, of `ir.VARIANTS`."""
    judged: tuple[Request, ...]
    calibration: tuple[Request, ...]
    """Of the user's kind, none of them judged; static int8 needs them."""
    threads: int
    max_length: int = 512
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    installed: str | None
    """The variant that now lies in `model_cpu/`; None where none passed."""
    report: Mapping[str, object]
    """As JSON values."""


def optimize(plan: Plan, progress: Progress) -> Result:
    """Make, prove and install. Blocks for minutes; the files of `model/` are only read.

    Raises:
        ModelFilesError: the version is none that can be optimised.
    """
    original = _Original(plan)
    with _workplace(plan.directory) as workplace:
        progress("score with the original", 0.02)
        exact = [original.engine.logits(rows) for rows in original.judged]
        found: dict[str, dict[str, object]] = {}
        passed: dict[str, Path] = {}
        for step, kind in enumerate(plan.kinds):
            share = 0.1 + 0.8 * step / len(plan.kinds)
            progress(f"write {kind}", share)
            folder = workplace / kind.replace(" ", "-")
            folder.mkdir()
            variants.write(
                kind, original.weights, original.calibration, original.pad_id, folder / IR_NAME
            )
            gc.collect()
            progress(f"prove {kind}", share + 0.4 / len(plan.kinds))
            proof = _proof(plan, original, exact, folder)
            faults = proof.faults(plan.limits)
            size = sum(path.stat().st_size for path in folder.iterdir())
            found[kind] = {**asdict(proof), "faults": faults, "bytes": size}
            if not faults:
                passed[kind] = folder
        progress("race", 0.92)
        seconds = _race(plan, original, passed)
        for kind in passed:
            found[kind]["speed_up"] = seconds[ORIGINAL] / seconds[kind]
        installed = min(passed, key=lambda kind: seconds[kind]) if passed else None
        report = _report(plan, found, installed)
        if installed is not None:
            progress("install", 0.98)
            _install(plan.directory, passed[installed], report)
    return Result(installed, report)


class _Original:
    """The version's own model in fp32, and the texts as the rows it reads."""

    def __init__(self, plan: Plan) -> None:
        files = read_model_files(plan.directory / "model")
        if not files.weights or not supports(files, Output.LOGIT):
            raise ModelFilesError(
                f"{files.directory}: only cross-encoders of BERT's shape (BERT, RoBERTa, "
                "XLM-RoBERTa) with Hugging Face weights can be optimised"
            )
        torch.set_num_threads(plan.threads)
        cpu = torch.device("cpu")
        self.weights: BertWeights = arrange(files, read_weights(files), Output.LOGIT)
        self.engine = TorchEngine(Bert(self.weights, cpu, torch.float32), cpu, {})
        context = Context(plan.directory.name, plan.directory, max_length=plan.max_length)
        tokenizer = load_tokenizer(context.tokenizer_dir, files)
        self.pad_id = tokenizer.pad_id
        self.widest = files.max_positions or 0
        length = lengths.max_length(context, files)
        encoder = CrossEncoder(tokenizer, self.engine, max_length=length, info={})

        def rows(requests: Sequence[Request]) -> list[list[Row]]:
            return [[pair.row for pair in encoder.encode(r.query, r.docs)] for r in requests]

        self.judged = rows(plan.judged)
        self.calibration = [row for found in rows(plan.calibration) for row in found[::5]]


def _proof(plan: Plan, original: _Original, exact: Sequence[Floats], folder: Path) -> Proof:
    engine = _load(folder, plan, original)
    quick = [engine.logits(rows) for rows in original.judged]
    quality = compare(exact, quick, [request.relevant for request in plan.judged])
    every = [row for rows in original.judged for row in rows]
    return Proof(quality, neighbours(engine.logits, every))


def _load(folder: Path, plan: Plan, original: _Original) -> OpenVinoEngine:
    return load_openvino(
        folder / IR_NAME, plan.threads, True, original.pad_id, widest=original.widest
    )


def _race(plan: Plan, original: _Original, passed: Mapping[str, Path]) -> Mapping[str, float]:
    runners = {kind: _load(folder, plan, original).logits for kind, folder in passed.items()}
    every = [row for rows in original.judged for row in rows]
    rows = every[:: max(1, len(every) // _RACE_ROWS)][:_RACE_ROWS]
    return race({ORIGINAL: original.engine.logits, **runners}, rows)


def _report(
    plan: Plan, found: Mapping[str, Mapping[str, object]], installed: str | None
) -> Mapping[str, object]:
    return {
        "installed": installed,
        "variants": found,
        "limits": asdict(plan.limits),
        "requests": len(plan.judged),
        "pairs": sum(len(request.docs) for request in plan.judged),
        "calibrated_on": len(plan.calibration) if STATIC in plan.kinds else 0,
        "threads": plan.threads,
        "max_length": plan.max_length,
    }


@contextmanager
def _workplace(directory: Path) -> Iterator[Path]:
    """Make a folder on the same disk as `model_cpu/`, and leave nothing of it behind."""
    path = Path(tempfile.mkdtemp(prefix=".model_cpu.", dir=directory))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _install(directory: Path, folder: Path, report: Mapping[str, object]) -> None:
    """Put the folder in the place of `model_cpu/`; a worker that runs the old one is not hurt."""
    (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
    shutil.copyfile(directory / "model" / "config.json", folder / "config.json")
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    folder.chmod(0o755)  # mkdir under mkdtemp's umask
    place, previous = directory / "model_cpu", directory / "model_cpu.previous"
    if place.exists():
        shutil.rmtree(previous, ignore_errors=True)
        place.rename(previous)
    folder.rename(place)


def default_kinds(*, is_calibrated: bool) -> tuple[str, ...]:
    """Name the variants worth trying: static int8 only on texts of the user's own kind."""
    return (BFLOAT16, DYNAMIC, STATIC) if is_calibrated else (BFLOAT16, DYNAMIC)
