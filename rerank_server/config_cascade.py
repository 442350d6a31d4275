"""Rules for versions that are cascades: what their stages must be, and keys that mean nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from rerank_server.config_traffic import StageConfig, must_serve
from rerank_server.yaml_text import Key, shown

if TYPE_CHECKING:
    from rerank_server.config import Config

OF_A_PROCESS = frozenset(
    (
        *("source", "device", "cpu_model", "fallback_to_cpu", "gpu_memory_threshold_mb"),
        *("gpu_memory_mb", "replicas", "batch_size", "max_length", "use_fp16"),
        *("max_batch_tokens", "threads", "env", "start_timeout_s", "max_batch_s"),
        *("max_queued_pairs", "replace", "long_docs", "preprocess"),
    )
)
"""Keys that say how a process is run, which a cascade has not."""


def faults(config: Config) -> Iterator[tuple[Key, str]]:
    """Yield what is wrong with the cascades of a config, beyond types and ranges."""
    for name, version in config.versions.items():
        key: Key = ("versions", name)
        source = config.versions.get(version.source or "")
        if source is not None and source.cascade is not None:
            text = (
                f"{shown(version.source)} is a cascade, which has no files; name one of its stages"
            )
            yield (*key, "source"), text
        if version.cascade is None:
            continue
        for other in sorted(version.model_fields_set & OF_A_PROCESS):
            if getattr(version, other) is not None:
                yield (*key, other), _meaningless(other, version.cascade)
        yield from _stages(config, name, version.cascade)


def _meaningless(key: str, stages: list[StageConfig]) -> str:
    if key == "source":
        return "a cascade has no files of its own; remove the key"
    names = dict.fromkeys(stage.version for stage in stages)
    return (
        "a cascade has no process of its own; remove the key, or set it for a stage: "
        + ", ".join(names)
    )


def _stages(config: Config, name: str, stages: list[StageConfig]) -> Iterator[tuple[Key, str]]:
    key: Key = ("versions", name, "cascade")
    if len(stages) < 2:
        yield key, "needs two stages at least: a cheap version that prunes, one that decides"
    names = [stage.version for stage in stages]
    for number, stage in enumerate(stages):
        yield from _stage(config, (*key, number), name, stage, number == len(stages) - 1)
        if stage.version in names[:number]:
            yield (
                (*key, number, "version"),
                f"{shown(stage.version)} is a stage already: it would prune the same again",
            )
    for number, (before, after) in enumerate(pairwise(stages)):
        yield from _queue(config, (*key, number, "keep"), before, after)
    kept = [stage.keep for stage in stages if stage.keep is not None]
    if any(after >= before for before, after in pairwise(kept)):
        yield key, "keep must fall from stage to stage"


def _stage(
    config: Config, key: Key, name: str, stage: StageConfig, is_last: bool
) -> Iterator[tuple[Key, str]]:
    if stage.version == name:
        yield (*key, "version"), f"{shown(name)} is this version itself; name another"
    elif stage.version in config.versions and config.versions[stage.version].cascade is not None:
        yield (*key, "version"), f"{shown(stage.version)} is a cascade itself; name its stages here"
    elif config.versions[name].enabled:
        yield from must_serve(config, (*key, "version"), stage.version)
    if is_last and stage.keep is not None:
        yield (*key, "keep"), "the last stage scores all it gets; remove the key"
    if not is_last and stage.keep is None:
        yield key, "needs keep: how many documents it lets through"


def _queue(
    config: Config, key: Key, before: StageConfig, after: StageConfig
) -> Iterator[tuple[Key, str]]:
    """Refuse a cut that lets more through than the next stage could ever take."""
    next_ = config.versions.get(after.version)
    if next_ is not None and before.keep is not None and before.keep > next_.max_queued_pairs:
        yield (
            key,
            f"{before.keep} is more than {after.version} takes at a time (max_queued_pairs "
            f"{next_.max_queued_pairs}); lower it, or raise that one",
        )
