from collections.abc import Callable

import pytest

from rerank_server.config import parse

ProblemsOf = Callable[[str], list[str]]

RULE = (
    "is not a version name: v and a number, then lower-case words after '-' "
    "(v1, v2-m3, v2.5-gemma2), at most 63 characters"
)
PATH = (
    "is not a path: '/' before each part, letters, digits and . _ ~ - only, no '/' at the end, "
    "at most 128 characters"
)


@pytest.mark.parametrize(
    ("lines", "key", "said"),
    [
        # names
        ("  v2_Big: {}", "versions.v2_Big", f"'v2_Big' {RULE}; did you mean 'v2-big'?"),
        ("  bge: {}", "versions.bge", f"'bge' {RULE}"),
        (f"  v1-{'a' * 61}: {{}}", f"versions.v1-{'a' * 61}", f"'v1-{'a' * 57}…' {RULE}"),
        # references
        (
            "    fallback: v2-m4",
            "versions.v1.fallback",
            "'v2-m4' is not a version here; did you mean 'v2-m3'?",
        ),
        (
            "    fallback: huge",
            "versions.v1.fallback",
            "'huge' is not a version here; known: v2-m3, v1, none",
        ),
        (
            "    fallback: v1",
            "versions.v1.fallback",
            "'v1' is this version itself; write none for no fallback",
        ),
        (
            "last_resort: huge",
            "last_resort",
            "'huge' is not a version here; known: v2-m3, v1, none",
        ),
        (
            "    source: v1",
            "versions.v1.source",
            "'v1' is this version itself; remove the key",
        ),
        ("    source: ../v1", "versions.v1.source", f"'../v1' {RULE}"),
        # endpoints
        ("    endpoint: x", "versions.v1.endpoint", f"'x' {PATH}; did you mean '/x'?"),
        ("  v3: {endpoint: /x/}", "versions.v3.endpoint", f"'/x/' {PATH}; did you mean '/x'?"),
        ("  v3: {endpoint: '/x?y=1'}", "versions.v3.endpoint", f"'/x?y=1' {PATH}"),
        ("  v3: {endpoint: /}", "versions.v3.endpoint", f"'/' {PATH}"),
        ("  v3: {endpoint: /重排}", "versions.v3.endpoint", f"'/重排' {PATH}"),
        ("  v3: {endpoint: /a/../b}", "versions.v3.endpoint", f"'/a/../b' {PATH}"),
        (
            f"  v3: {{endpoint: /{'a' * 128}}}",
            "versions.v3.endpoint",
            f"'/{'a' * 59}…' {PATH}",
        ),
        (
            "  v3: {endpoint: /rerank/v1}",
            "versions.v3.endpoint",
            "'/rerank/v1' is the path of 'v1'; choose another",
        ),
        (
            "  v3: {endpoint: /rerank/v2-m3}",
            "versions.v3.endpoint",
            "'/rerank/v2-m3' is the path of 'v2-m3'; choose another",
        ),
        (
            "  v3: {endpoint: /rerank/v1/score}",
            "versions.v3.endpoint",
            "'/rerank/v1/score' is reserved: 'v1' answers it; choose another",
        ),
        # the worker's environment
        (
            "    env: {PYTHONPATH: /x}",
            "versions.v1.env.PYTHONPATH",
            "cannot be set: workers run Python in isolated mode, which ignores it; remove it",
        ),
        (
            "    env: {CUDA_VISIBLE_DEVICES: '0'}",
            "versions.v1.env.CUDA_VISIBLE_DEVICES",
            "cannot be set: the server gives each worker its own card; use the key device; "
            "remove it",
        ),
        (
            "    env: {A=B: x}",
            "versions.v1.env.'A=B'",
            "'A=B' is not a variable name: letters, digits and _, no digit first",
        ),
        ("    env: {N: 4}", "versions.v1.env.N", "must be text; put it in quotes"),
        ("    env: TOKEN=s3cret", "versions.v1.env", "must be a mapping of names to texts"),
        # limits that must agree
        (
            "    max_length: 9000",
            "versions.v1.max_length",
            "max_length 9000 is more than max_batch_tokens 8192: a pair that long would fit in "
            "no batch; raise max_batch_tokens or lower max_length",
        ),
        (
            "    max_batch_tokens: 64",
            "versions.v1.max_batch_tokens",
            "max_length 512 is more than max_batch_tokens 64: a pair that long would fit in "
            "no batch; raise max_batch_tokens or lower max_length",
        ),
        (
            "global_config: {max_length: 10000}",
            "global_config.max_length",
            "max_length 10000 is more than max_batch_tokens 8192: a pair that long would fit in "
            "no batch; raise max_batch_tokens or lower max_length",
        ),
        (
            "server: {drain_timeout_s: 5}",
            "server.drain_timeout_s",
            "5 is less than request_timeout_s 60: requests would be cut off; raise it or lower "
            "the other",
        ),
        # addresses and directories
        (
            "server: {host: 'localhost:80'}",
            "server.host",
            "'localhost:80' is not an IP address or a host name; write the port under server.port",
        ),
        ("server: {host: ''}", "server.host", "'' is not an IP address or a host name"),
        (
            "server: {host: 127.0.0.256}",
            "server.host",
            "'127.0.0.256' is not an IP address or a host name",
        ),
        ("models_dir: ''", "models_dir", "is empty; write . for the directory of this file"),
        (
            "models_dir: ~/models",
            "models_dir",
            "'~/models': '~' is not expanded here; write the whole path",
        ),
    ],
)  # fmt: skip
def test_each_broken_rule_is_told_with_line_key_value_and_what_to_do(
    lines: str, key: str, said: str, good: str, problems_of: ProblemsOf
) -> None:
    text = good + lines + "\n"
    if lines.strip().startswith("endpoint"):
        text = text.replace("    endpoint: /rerank/v1\n", "    threads: 1\n")

    assert problems_of(text) == [f"config.yaml:7: {key}: {said}"]


@pytest.mark.parametrize(
    "path",
    ["health", "ready", "versions", "metrics", "docs", "openapi.json", "score", "info",
     "reranking", "v1", "v2", "v1/rerank", "v2/anything", "metrics/mine"],
)  # fmt: skip
def test_paths_the_server_answers_itself_are_reserved(
    path: str, good: str, problems_of: ProblemsOf
) -> None:
    first = path.split("/", maxsplit=1)[0]

    assert problems_of(good + f"  v3: {{endpoint: /{path}}}\n") == [
        f"config.yaml:7: versions.v3.endpoint: '/{path}' is reserved: the server answers "
        f"/{first} itself; use a path like /rerank/NAME"
    ]


def test_the_plain_rerank_path_is_reserved_and_others_below_it_are_not(
    good: str, problems_of: ProblemsOf
) -> None:
    assert problems_of(good + "  v3: {endpoint: /rerank}\n") == [
        "config.yaml:7: versions.v3.endpoint: '/rerank' is reserved: the server answers /rerank "
        "itself; use a path like /rerank/NAME"
    ]
    assert parse(good + "  v3: {endpoint: /rerank/other}\n", path="x").endpoint_of("v3")


def test_two_versions_with_one_endpoint_are_told_at_the_second(
    good: str, problems_of: ProblemsOf
) -> None:
    text = good + "  v3: {endpoint: /a}\n  v4: {endpoint: /a}\n"

    assert problems_of(text) == [
        "config.yaml:8: versions.v4.endpoint: '/a' is the path of 'v3'; choose another"
    ]


def test_a_version_may_take_its_own_default_path_in_writing(good: str) -> None:
    assert parse(good, path="x").endpoint_of("v1") == "/rerank/v1"


def test_a_source_that_has_a_source_is_refused_with_the_origin(
    good: str, problems_of: ProblemsOf
) -> None:
    text = good + "    source: v2-m3\n  v3: {source: v1}\n  v4: {source: v2-gemma}\n"

    assert problems_of(text) == [
        "config.yaml:8: versions.v3.source: 'v1' takes its files from 'v2-m3' itself; write that"
    ]


def test_each_circle_of_fallbacks_is_told_once_by_name(problems_of: ProblemsOf) -> None:
    text = """\
default_version: v0
versions:
  v0: {fallback: v3}
  v1: {fallback: v2}
  v2: {fallback: v3}
  v3: {fallback: v1}
  v4: {fallback: v5}
  v5: {fallback: v4}
  v6: {fallback: v7}
  v7: {fallback: none}
"""

    assert problems_of(text) == [
        "config.yaml:4: versions.v1.fallback: 'v2' closes a circle: v1 -> v2 -> v3 -> v1; "
        "let one of them end it",
        "config.yaml:7: versions.v4.fallback: 'v5' closes a circle: v4 -> v5 -> v4; "
        "let one of them end it",
    ]


def test_a_message_lists_a_few_of_many_names(problems_of: ProblemsOf) -> None:
    names = [f"v{n}" for n in range(1, 100)]
    text = f"default_version: big\nversions: {{{', '.join(f'{name}: ' for name in names)}}}\n"

    assert problems_of(text) == [
        "config.yaml:1: default_version: 'big' is not a version here; known: "
        "v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, …"
    ]
