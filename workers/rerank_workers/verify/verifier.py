"""Loads a version as the server would, scores the fixed requests, and compares its variants."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from rerank_workers.device import Device, Work
from rerank_workers.failures import reason_of
from rerank_workers.jobs import Broken, Job, JobFailed, Scored
from rerank_workers.scorer import Context, DeviceMemoryError
from rerank_workers.scoring import Model, ModelError
from rerank_workers.verify import checks
from rerank_workers.verify.checks import Check, Scoring
from rerank_workers.verify.texts import REQUESTS, Fixed
from rerank_workers.version_file import FILE_NAME, import_version, load_model

MODEL, MODEL_CPU = "model", "model_cpu"
FP32 = "fp32"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of one version."""

    checks: Sequence[Check]
    settings: Mapping[str, str]
    """The scorer's own words."""


def verify(context: Context, requests: Sequence[Fixed] = REQUESTS) -> Report:
    """Check the version, holding one model in memory at a time. Blocks.

    Raises whatever the version's file raises while it is imported and loaded.
    """
    module = import_version(context.directory)
    load = partial(_scored, module, requests=requests)
    try:
        used = load(context)
    except ModelError as error:
        return Report([Check("finite", False, str(error))], {})
    found = [checks.order(used), checks.finite(used), checks.repeatable(used)]
    found.append(checks.neighbours(used))
    if hasattr(module, "load"):
        found += _compared(context, used, load)
    return Report(found, used.settings)


def _compared(
    context: Context, used: Scoring, load: Callable[[Context], Scoring]
) -> Iterator[Check]:
    """Compare what runs with the other folder of weights, and with fp32."""
    exact = used if context.model == MODEL and used.is_exact else None
    other_name = MODEL if context.model == MODEL_CPU else MODEL_CPU
    if _has(context.directory, context.model) and _has(context.directory, other_name):
        # Without a place to remember it no engine is timed: the choice is that of what runs.
        place = context.device if other_name == MODEL else "cpu"
        beside = replace(context, model=other_name, device=place, options={})
        try:
            other = load(beside)
        except Exception as error:  # whatever a version's own code may raise
            yield Check(other_name, False, f"cannot be run: {reason_of(error, FILE_NAME)}")
        else:
            yield checks.agreement(other_name, used, other, _advice(context))
            if other_name == MODEL and other.is_exact:
                exact = other
    yield _against_exact(context, used, exact, load)


def _against_exact(
    context: Context, used: Scoring, exact: Scoring | None, load: Callable[[Context], Scoring]
) -> Check:
    if exact is used:
        return Check(FP32, True, "it runs in fp32", {"max_deviation": 0.0})
    if exact is None:
        if not _has(context.directory, MODEL):
            return Check(FP32, None, "there is no model/ to compare with")
        try:
            exact = load(replace(context, model=MODEL, use_fp16=False, options={}))
        except DeviceMemoryError as error:
            return Check(FP32, None, f"no memory for the model in fp32: {error}")
        except Exception as error:  # as above
            return Check(FP32, False, f"cannot be run: {reason_of(error, FILE_NAME)}")
    if not exact.is_exact:
        runs = exact.settings.get("dtype", "a format it does not name")
        return Check(FP32, None, f"nothing runs model/ in fp32; it is {runs}")
    advice = _advice(context) if context.model == MODEL_CPU else None
    return checks.agreement(FP32, used, exact, advice)


def _advice(context: Context) -> str:
    """Say what to do about a model_cpu/ that is not as close to model/ as ours would be."""
    return (
        "model_cpu/ keeps the order but is further from model/ than `optimize` would accept: "
        f"`rerank-server optimize {context.version or 'VERSION'}` makes a closer one"
    )


def _scored(module: ModuleType, context: Context, requests: Sequence[Fixed]) -> Scoring:
    """Load a model, score everything, and let the model go.

    Raises:
        ModelError: a score is missing or not finite.
    """
    model = load_model(module, context)
    try:
        first, cut = _queued(model, context, requests)
        again, _ = _queued(model, context, requests)
        shares = not model.whole_requests and model.scorer.mixes_requests
        alone = [_alone(model, request, shares=shares) for request in requests]
        settings = {str(key): str(value) for key, value in model.scorer.info.items()}
        return Scoring(requests, first, again, alone, shares, cut, settings)
    finally:
        del model
        _release()


def _queued(
    model: Model, context: Context, requests: Sequence[Fixed]
) -> tuple[Sequence[Sequence[float]], int]:
    """Score all requests as a worker does that has them in its queue at once; count what was cut.

    Raises:
        ModelError: the model failed on one of them.
    """
    device = Device(model, context.batch_size, context.max_batch_tokens, time.monotonic)
    for number, request in enumerate(requests):
        job = Job(number, request.query, request.docs, time.monotonic())
        device.add(Work(job, model.encode(request.query, request.docs), 0.0))
    raw: dict[int, list[float]] = {}
    cut = 0
    while not device.is_idle:
        for event in device.score_next():
            match event:
                case Scored():
                    raw[event.job.number] = event.raw
                    cut += len(event.truncated)
                case JobFailed():
                    raise ModelError(event.message, event.site)
                case Broken(failure):
                    raise DeviceMemoryError(failure.reason)
                case _:
                    pass
    return [raw[number] for number in range(len(requests))], cut


def _alone(model: Model, request: Fixed, *, shares: bool) -> Sequence[float]:
    items = model.encode(request.query, request.docs)
    if not shares:
        return model.score(items)
    return [model.score([item])[0] for item in items]


def _has(directory: Path, folder: str) -> bool:
    return (directory / folder).is_dir() and any((directory / folder).iterdir())


def _release() -> None:
    """Give back what a model took, so that the next one fits."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
