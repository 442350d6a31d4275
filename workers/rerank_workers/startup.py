"""Brings a version up on the device thread: import, load, warm up."""

from __future__ import annotations

import gc
from collections.abc import Callable

from rerank_workers.engines.choice import STORE
from rerank_workers.probe import WARM_UP
from rerank_workers.scorer import Context
from rerank_workers.scoring import Model, warm_up
from rerank_workers.settings import Settings
from rerank_workers.version_file import import_version, load_model

STAGE_IMPORT = "import"
STAGE_LOAD = "load"
STAGE_WARM_UP = "warmup"


def load_version(settings: Settings, threads: int, progress: Callable[[str], None]) -> Model:
    """Return the version's model after it gave finite scores. Blocks; raises what it raises."""
    progress(STAGE_IMPORT)
    module = import_version(settings.path)
    progress(STAGE_LOAD)
    model = load_model(module, context_of(settings, threads))
    progress(STAGE_WARM_UP)
    warm_up(model, WARM_UP)
    # What was loaded stays: keep the collector from walking it again and again.
    gc.collect()
    gc.freeze()
    return model


def context_of(settings: Settings, threads: int) -> Context:
    """Return what `load` is given."""
    store = settings.engine_store
    return Context(
        version=settings.version,
        directory=settings.path,
        model=settings.model,
        device=settings.device,
        batch_size=settings.batch_size,
        max_length=settings.max_length,
        max_batch_tokens=settings.max_batch_tokens,
        use_fp16=settings.use_fp16,
        threads=threads,
        options={} if store is None else {STORE: store},
    )
