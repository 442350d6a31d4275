from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rerank_server.config import VersionConfig, parse
from rerank_server.config_cascade import OF_A_PROCESS
from rerank_server.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import ProblemsOf

VERSIONS = """\
default_version: v2-m3
versions:
  v1: {}
  v2-m3: {}
  v2-gemma: {}
  v3: {enabled: false}
"""


def test_shares_a_mirror_a_rollout_and_a_cascade_are_read() -> None:
    config = parse(
        VERSIONS
        + """\
  v2-fast: {cascade: [{version: v1, keep: 20}, {version: v2-m3}]}
traffic: {v2-m3: 95, v2-gemma: 5}
mirror: {to: v2-gemma, share: 0.1}
rollout: {to: v2-gemma, steps: [1, 5, 25, 50, 100], interval_s: 300, guards: {error_ratio: 0.01,
  p95_ratio: 1.5, min_requests: 50, mirror_tau: 0.6}}
""",
        path="config.yaml",
    )

    assert config.traffic == {"v2-m3": 95, "v2-gemma": 5}
    assert config.mirror is not None
    assert (config.mirror.to, config.mirror.share) == ("v2-gemma", 0.1)
    assert config.rollout is not None
    assert config.rollout.steps == [1, 5, 25, 50, 100]
    assert config.rollout.guards.mirror_tau == 0.6
    stages = config.versions["v2-fast"].cascade
    assert stages is not None
    assert [(stage.version, stage.keep) for stage in stages] == [("v1", 20), ("v2-m3", None)]


@pytest.mark.parametrize(
    ("line", "key", "said"),
    [
        (
            "traffic: {v2-gemm: 5}",
            "traffic.v2-gemm",
            "'v2-gemm' is not a version here; did you mean 'v2-gemma'?",
        ),
        (
            "traffic: {v3: 5}",
            "traffic.v3",
            "'v3' is not enabled; enable it, or take it out here",
        ),
        (
            "traffic: {v2-gemma: 60, v1: 41}",
            "traffic",
            "the shares add up to 101%; at most 100%, and what is left goes to v2-m3",
        ),
        (
            "traffic: {v2-m3: 90, v2-gemma: 5}",
            "traffic",
            "the shares add up to 95%, and v2-m3, which gets what is left, has a share of its own; "
            "make it 100%, or leave that one out",
        ),
        ("traffic: {v2-gemma: -1}", "traffic.v2-gemma", "must be at least 0, not -1"),
        ("mirror: {share: 0.1}", "mirror.to", "is missing"),
        ("mirror: {to: v2-gemma, share: 0}", "mirror.share", "must be more than 0, not 0"),
        ("rollout: {to: v2-m3}", "rollout.to", "'v2-m3' is the default version already"),
        (
            "rollout: {to: v2-gemma, steps: [5, 5]}",
            "rollout.steps",
            "must rise from step to step, and begin above 0",
        ),
        (
            "rollout: {to: v2-gemma, guards: {error_rate: 0.1}}",
            "rollout.guards.error_rate",
            "unknown key; did you mean 'error_ratio'?",
        ),
        (
            "rollout: {to: v2-gemma, guards: {mirror_tau: 0.5}}\nmirror: {to: v1}",
            "rollout.guards.mirror_tau",
            "needs a mirror to v2-gemma, and mirror.to is v1; change one",
        ),
        (
            "  v4: {cascade: [{version: v1}, {version: v2-m3}]}",
            "versions.v4.cascade[0]",
            "needs keep: how many documents it lets through",
        ),
        (
            "  v4: {cascade: [{version: v1, keep: 9}, {version: v3}]}",
            "versions.v4.cascade[1].version",
            "'v3' is not enabled; enable it, or take it out here",
        ),
        (
            "  v4: {cascade: [{version: v4, keep: 9}, {version: v1}]}",
            "versions.v4.cascade[0].version",
            "'v4' is this version itself; name another",
        ),
        (
            "  v4: {cascade: [{version: v1}]}",
            "versions.v4.cascade",
            "needs two stages at least: a cheap version that prunes, one that decides",
        ),
        (
            "  v4: {cascade: [{version: v1, keep: 9}, {version: v2-m3, keep: 5}]}",
            "versions.v4.cascade[1].keep",
            "the last stage scores all it gets; remove the key",
        ),
        (
            "  v4: {cascade: [{version: v1, keep: 9}, {version: v2-m3, keep: 9}, "
            "{version: v2-gemma}]}",
            "versions.v4.cascade",
            "keep must fall from stage to stage",
        ),
        (
            "  v4: {source: v1, cascade: [{version: v1, keep: 9}, {version: v2-m3}]}",
            "versions.v4.source",
            "a cascade has no files of its own; remove the key",
        ),
        (
            "  v4: {replicas: 2, cascade: [{version: v1, keep: 9}, {version: v2-m3}]}",
            "versions.v4.replicas",
            "a cascade has no process of its own; remove the key, or set it for a stage: v1, v2-m3",
        ),
        (
            "  v4: {cascade: [{version: v1, keep: 9}, {version: v1}]}",
            "versions.v4.cascade[1].version",
            "'v1' is a stage already: it would prune the same again",
        ),
        (
            "  v4: {cascade: [{version: v1, keep: 20001}, {version: v2-m3}]}",
            "versions.v4.cascade[0].keep",
            "20001 is more than v2-m3 takes at a time (max_queued_pairs 20000); lower it, or raise "
            "that one",
        ),
        (
            "  v4: {cascade: v1}",
            "versions.v4.cascade",
            "must be a list, not 'v1'",
        ),
    ],
)  # fmt: skip
def test_a_mistake_about_traffic_is_told_with_its_line(
    line: str, key: str, said: str, problems_of: ProblemsOf
) -> None:
    assert problems_of(VERSIONS + line + "\n") == [f"config.yaml:7: {key}: {said}"]


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("mirror: {to: v4}", "mirror.to"),
        ("rollout: {to: v4, guards: {mirror_tau: 0.5}}", "rollout.guards.mirror_tau"),
    ],
)
def test_a_cascade_scores_no_copies(section: str, key: str, problems_of: ProblemsOf) -> None:
    cascade = "  v4: {cascade: [{version: v1, keep: 9}, {version: v2-gemma}]}\n"

    assert problems_of(VERSIONS + cascade + section) == [
        f"config.yaml:8: {key}: 'v4' is a cascade, which scores no copies; "
        "mirror to v2-gemma instead"
    ]


def test_a_cascade_of_cascades_is_refused(problems_of: ProblemsOf) -> None:
    cascades = """\
  v4: {cascade: [{version: v1, keep: 9}, {version: v2-m3}]}
  v5: {cascade: [{version: v1, keep: 9}, {version: v4}]}
"""

    assert problems_of(VERSIONS + cascades) == [
        "config.yaml:8: versions.v5.cascade[1].version: 'v4' is a cascade itself; "
        "name its stages here"
    ]


@pytest.mark.parametrize("key", sorted(OF_A_PROCESS))
def test_every_key_that_is_about_a_process_is_refused_on_a_cascade(key: str) -> None:
    assert key in VersionConfig.model_fields
    value = {
        "source": "v1",
        "device": "cpu",
        "cpu_model": "model",
        "replace": "overlap",
        "long_docs": "chunk",
    }
    given = value.get(key, "{}" if key in ("env", "preprocess") else "16")
    given = "true" if key in ("fallback_to_cpu", "use_fp16") else given
    cascade = "[{version: v1, keep: 9}, {version: v2-m3}]"

    with pytest.raises(ConfigError, match=rf"versions\.v4\.{key}: .*a cascade has no"):
        parse(f"{VERSIONS}  v4: {{{key}: {given}, cascade: {cascade}}}\n", path="config.yaml")


def test_a_cascade_may_have_limits_a_fallback_and_a_path() -> None:
    keys = "fallback: none, endpoint: /fast, description: fast, max_docs: 50, request_timeout_s: 5"
    cascade = "cascade: [{version: v1, keep: 9}, {version: v2-m3}]"

    config = parse(f"{VERSIONS}  v4: {{{keys}, source: null, {cascade}}}\n", path="config.yaml")

    assert config.versions["v4"].cascade is not None


def test_a_version_cannot_run_the_files_of_a_cascade(problems_of: ProblemsOf) -> None:
    lines = """\
  v4: {cascade: [{version: v1, keep: 9}, {version: v2-m3}]}
  v5: {source: v4}
"""

    assert problems_of(VERSIONS + lines) == [
        "config.yaml:8: versions.v5.source: 'v4' is a cascade, which has no files; "
        "name one of its stages"
    ]


def test_a_cascade_is_no_last_resort_unless_it_is_named() -> None:
    text = """\
default_version: v2
versions:
  v1-fast: {cascade: [{version: v1, keep: 9}, {version: v2}]}
  v1: {}
  v2: {}
"""

    assert parse(text, path="x").effective_last_resort() == "v1"
    assert parse(text + "last_resort: v1-fast\n", path="x").effective_last_resort() == "v1-fast"


@pytest.mark.parametrize(
    ("line", "key", "said"),
    [
        (
            "rollout: {to: v2-gemma, steps: [5%, 10]}",
            "rollout.steps[0]",
            "must be a number, not '5%'",
        ),
        (
            "rollout: {to: v2-gemma, steps: [5, 200]}",
            "rollout.steps[1]",
            "must be at most 100, not 200",
        ),
        (
            "rollout: {to: 5}",
            "rollout.to",
            "must be text, not 5; write '5' in quotes",
        ),
        (
            "mirror: {to: [v1]}",
            "mirror.to",
            "must be text, not a list",
        ),
        (
            "server: {protect: [5]}",
            "server.protect[0]",
            "must be /versions, /metrics, /docs or /openapi.json, not 5",
        ),
        (
            "server: {cors_origins: [5]}",
            "server.cors_origins[0]",
            "must be text, not 5; write '5' in quotes",
        ),
        (
            "  v4: {cascade: [{version: v1, keep: 0}, {version: v2-m3}]}",
            "versions.v4.cascade[0].keep",
            "must be at least 1, not 0",
        ),
        (
            "  v4: {cascade: [v1, v2-m3]}",
            "versions.v4.cascade[0]",
            "must be a mapping, not 'v1'; write its keys below it, indented",
        ),
    ],
)
def test_a_wrong_value_within_a_list_or_a_section_is_a_mistake_like_others(
    line: str, key: str, said: str, problems_of: ProblemsOf
) -> None:
    assert f"config.yaml:7: {key}: {said}" in problems_of(VERSIONS + line + "\n")
