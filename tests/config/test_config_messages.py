from collections.abc import Callable

import pytest

from rerank_server.config import parse

ProblemsOf = Callable[[str], list[str]]

KNOWN = (
    "default_version, versions, global_config, models_dir, last_resort, traffic, mirror, rollout, "
    "server"
)


def test_the_text_the_tables_build_on_is_valid(good: str) -> None:
    assert list(parse(good, path="config.yaml").versions) == ["v2-m3", "v1"]


@pytest.mark.parametrize(
    ("lines", "key", "said"),
    [
        # keys nobody knows
        ("    devcie: cpu", "versions.v1.devcie", "unknown key; did you mean 'device'?"),
        ("    port: 1", "versions.v1.port", "unknown key; it belongs under server"),
        ("    models_dir: x", "versions.v1.models_dir", "unknown key; it belongs at the top level"),
        ("fallback: v1", "fallback", "unknown key; it belongs under versions.NAME"),
        ("clean: true", "clean", "unknown key; it belongs under versions.NAME.preprocess"),
        ("zz: 1", "zz", f"unknown key; known here: {KNOWN}"),
        ("on: 1", "on", f"unknown key; known here: {KNOWN}"),
        ("1: 1", "1", f"unknown key; known here: {KNOWN}"),
        ('"a b": 1', "'a b'", f"unknown key; known here: {KNOWN}"),
        # wrong types
        (
            '    enabled: "true"',
            "versions.v1.enabled",
            "must be true or false, not 'true'; write true, in lower case and without quotes",
        ),
        (
            "    enabled: off",
            "versions.v1.enabled",
            "must be true or false, not 'off'; write false, in lower case and without quotes",
        ),
        (
            "    enabled: True",
            "versions.v1.enabled",
            "must be true or false, not 'True'; write true, in lower case and without quotes",
        ),
        (
            "    enabled: 1",
            "versions.v1.enabled",
            "must be true or false, not 1; write true, in lower case and without quotes",
        ),
        ("    enabled: maybe", "versions.v1.enabled", "must be true or false, not 'maybe'"),
        (
            "    threads: '4'",
            "versions.v1.threads",
            "must be a whole number, not '4'; write 4 without quotes",
        ),
        ("    threads: 4.5", "versions.v1.threads", "must be a whole number, not 4.5"),
        ("    threads: true", "versions.v1.threads", "must be a whole number, not true"),
        ("    threads: 010", "versions.v1.threads", "must be a whole number, not '010'; "
         "write 010 without quotes"),
        ("    threads: 1:30", "versions.v1.threads", "must be a whole number, not '1:30'"),
        ("    max_batch_s: slow", "versions.v1.max_batch_s", "must be a number, not 'slow'"),
        (
            "    description: 3",
            "versions.v1.description",
            "must be text, not 3; write '3' in quotes",
        ),
        (
            "    description: true",
            "versions.v1.description",
            "must be text, not true; write 'true' in quotes",
        ),
        ("    description: [a]", "versions.v1.description", "must be text, not a list"),
        ("    description: {a: b}", "versions.v1.description", "must be text, not a mapping"),
        (
            "    description:",
            "versions.v1.description",
            "is empty; write text, or remove the key",
        ),
        (
            "    preprocess: 3",
            "versions.v1.preprocess",
            "must be a mapping, not 3; write its keys below it, indented",
        ),
        (
            "  v3: here",
            "versions.v3",
            "must be a mapping, not 'here'; write its keys below it, indented",
        ),
        # values out of range
        ("    batch_size: 0", "versions.v1.batch_size", "must be at least 1, not 0"),
        ("    batch_size: 5000", "versions.v1.batch_size", "must be at most 4096, not 5000"),
        ("    start_timeout_s: 0", "versions.v1.start_timeout_s", "must be more than 0, not 0"),
        (
            "    start_timeout_s: 1e9",
            "versions.v1.start_timeout_s",
            "must be at most 86400, not 1000000000.0",
        ),
        ("server: {port: 65536}", "server.port", "must be at most 65535, not 65536"),
        (
            "    device: gpu",
            "versions.v1.device",
            "must be auto, cpu, cuda or cuda:N, not 'gpu'",
        ),
        (
            "    replace: overlapp",
            "versions.v1.replace",
            "must be auto, overlap or stop_first, not 'overlapp'; did you mean 'overlap'?",
        ),
        (
            "server: {log_format: }",
            "server.log_format",
            "is empty; write console or json, or remove the key",
        ),
        ("server: {log_format: 7}", "server.log_format", "must be console or json, not 7"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_line_key_value_and_what_to_do(
    lines: str, key: str, said: str, good: str, problems_of: ProblemsOf
) -> None:
    assert problems_of(good + lines + "\n") == [f"config.yaml:7: {key}: {said}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "default_version: v2-m4\nversions: {v2-m3: , v1: }\n",
            ["1: default_version: 'v2-m4' is not a version here; did you mean 'v2-m3'?"],
        ),
        (
            "default_version: big\nversions: {v2-m3: , v1: }\n",
            ["1: default_version: 'big' is not a version here; known: v2-m3, v1"],
        ),
        (
            "default_version: v1\nversions:\n  v1: {enabled: false}\n  v2: {}\n",
            ["1: default_version: 'v1' is not enabled; enable it or choose one that is: v2"],
        ),
        (
            "default_version: v1\nversions:\n  v1: {enabled: false}\n",
            ["1: default_version: 'v1' is not enabled; enable it"],
        ),
        (
            "default_version: 1\nversions: {v1: }\n",
            ["1: default_version: must be text, not 1; write '1' in quotes"],
        ),
        (
            "default_version:\nversions: {v1: }\n",
            ["1: default_version: is empty; name the version that answers /rerank, such as v2-m3"],
        ),
        (
            "versions: {v1: {fallback: v2}}\n",
            [
                "1: default_version: is missing; name the version that answers /rerank, "
                "such as v2-m3",
                "1: versions.v1.fallback: 'v2' is not a version here; known: v1, none",
            ],
        ),
        (
            "default_version: v1\n",
            ["1: versions: is missing; list at least one version under it"],
        ),
        (
            "default_version: v1\nversions:\nlast_resort: v9\n",
            ["2: versions: is empty; list at least one version under it"],
        ),
        (
            "default_version: v1\nversions: [v1]\n",
            ["2: versions: must be a mapping, not a list; write its keys below it, indented"],
        ),
        (
            "default_version: v1\nversions: {}\nlast_resort: v1\n",
            [
                "2: versions: no version is listed; add at least one, such as v2-m3",
                "3: last_resort: 'v1' is not a version here; known: none",
            ],
        ),
    ],
)
def test_what_must_be_there_is_told_when_it_is_not(
    text: str, said: list[str], problems_of: ProblemsOf
) -> None:
    assert problems_of(text) == [f"config.yaml:{one}" for one in said]


def test_all_problems_are_told_at_once_in_the_order_of_the_file(problems_of: ProblemsOf) -> None:
    text = """\
default_version: v2-m4
versions:
  v2-m3:
    devcie: cpu
    fallback: v1
    enabled: yes
  v1: 3
  v3: {fallback: v1, source: v3, env: {A: 1, 2B: x}}
server: {port: -1, host: "a b"}
server: {}
"""

    lines = [int(one.split(":")[1]) for one in problems_of(text)]

    assert lines == [1, 4, 6, 7, 8, 8, 8, 9, 9, 10]


def test_a_mistake_in_a_version_does_not_make_references_to_it_wrong(
    problems_of: ProblemsOf,
) -> None:
    text = "default_version: v1\nversions:\n  v1: {enabled: maybe}\n  v2: {fallback: v1, x: 1}\n"

    assert [one.split(": ")[1] for one in problems_of(text)] == [
        "versions.v1.enabled",
        "versions.v2.x",
    ]


def test_values_of_the_environment_are_never_shown(good: str, problems_of: ProblemsOf) -> None:
    text = good + "    env: {TOKEN: 123456, LIST: [123456], PYTHONHOME: '123456'}\n"

    assert "123456" not in "\n".join(problems_of(text))
