import pytest

from rerank_server.config import parse
from rerank_server.errors import ConfigError

GOOD = """\
default_version: v2-m3
versions:
  v2-m3:
    enabled: true
  v1:
    endpoint: /rerank/v1
"""
"""Six lines; a test's own lines start at line 7, inside v1 when indented."""

RULE = (
    "is not a version name: v and a number, then lower-case words after '-' "
    "(v1, v2-m3, v2.5-gemma2), at most 63 characters"
)
PATH = (
    "is not a path: '/' before each part, letters, digits and . _ ~ - only, no '/' at the end, "
    "at most 128 characters"
)
KNOWN = "default_version, versions, global_config, models_dir, last_resort, server"


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, path="config.yaml")
    return caught.value.problems


def test_the_text_the_tables_build_on_is_valid() -> None:
    assert list(parse(GOOD, path="config.yaml").versions) == ["v2-m3", "v1"]


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
def test_each_mistake_is_told_with_line_key_value_and_what_to_do(
    lines: str, key: str, said: str
) -> None:
    text = GOOD + lines + "\n"
    if lines.strip().startswith("endpoint"):
        text = text.replace("    endpoint: /rerank/v1\n", "    threads: 1\n")

    assert problems_of(text) == [f"config.yaml:7: {key}: {said}"]


@pytest.mark.parametrize(
    "path",
    ["health", "ready", "versions", "metrics", "docs", "openapi.json", "score", "info",
     "reranking", "v1", "v2", "v1/rerank", "v2/anything", "metrics/mine"],
)  # fmt: skip
def test_paths_the_server_answers_itself_are_reserved(path: str) -> None:
    first = path.split("/", maxsplit=1)[0]

    assert problems_of(GOOD + f"  v3: {{endpoint: /{path}}}\n") == [
        f"config.yaml:7: versions.v3.endpoint: '/{path}' is reserved: the server answers "
        f"/{first} itself; use a path like /rerank/NAME"
    ]


def test_the_plain_rerank_path_is_reserved_and_others_below_it_are_not() -> None:
    assert problems_of(GOOD + "  v3: {endpoint: /rerank}\n") == [
        "config.yaml:7: versions.v3.endpoint: '/rerank' is reserved: the server answers /rerank "
        "itself; use a path like /rerank/NAME"
    ]
    assert parse(GOOD + "  v3: {endpoint: /rerank/other}\n", path="x").endpoint_of("v3")


def test_two_versions_with_one_endpoint_are_told_at_the_second() -> None:
    text = GOOD + "  v3: {endpoint: /a}\n  v4: {endpoint: /a}\n"

    assert problems_of(text) == [
        "config.yaml:8: versions.v4.endpoint: '/a' is the path of 'v3'; choose another"
    ]


def test_a_version_may_take_its_own_default_path_in_writing() -> None:
    assert parse(GOOD, path="x").endpoint_of("v1") == "/rerank/v1"


def test_a_source_that_has_a_source_is_refused_with_the_origin() -> None:
    text = GOOD + "    source: v2-m3\n  v3: {source: v1}\n  v4: {source: v2-gemma}\n"

    assert problems_of(text) == [
        "config.yaml:8: versions.v3.source: 'v1' takes its files from 'v2-m3' itself; write that"
    ]


def test_each_circle_of_fallbacks_is_told_once_by_name() -> None:
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
def test_what_must_be_there_is_told_when_it_is_not(text: str, said: list[str]) -> None:
    assert problems_of(text) == [f"config.yaml:{one}" for one in said]


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
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


def test_a_mistake_in_a_version_does_not_make_references_to_it_wrong() -> None:
    text = "default_version: v1\nversions:\n  v1: {enabled: maybe}\n  v2: {fallback: v1, x: 1}\n"

    assert [one.split(": ")[1] for one in problems_of(text)] == [
        "versions.v1.enabled",
        "versions.v2.x",
    ]


def test_values_of_the_environment_are_never_shown() -> None:
    text = GOOD + "    env: {TOKEN: 123456, LIST: [123456], PYTHONHOME: '123456'}\n"

    assert "123456" not in "\n".join(problems_of(text))


def test_a_message_lists_a_few_of_many_names() -> None:
    names = [f"v{n}" for n in range(1, 100)]
    text = f"default_version: big\nversions: {{{', '.join(f'{name}: ' for name in names)}}}\n"

    assert problems_of(text) == [
        "config.yaml:1: default_version: 'big' is not a version here; known: "
        "v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, …"
    ]
