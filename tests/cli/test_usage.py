"""What needs no server: usage, help, and one line for each mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Fake, finished, program


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_is_printed(arguments: list[str]) -> None:
    assert finished(program(*arguments)) == Done(0, ["rerank-server 0.1.0"], [])


@pytest.mark.parametrize(
    ("arguments", "first", "hint"),
    [
        (["statsu"], "no such command 'statsu'. Did you mean 'status'", "rerank-server --help"),
        (["start", "--prot", "1"], "no such option: --prot", "rerank-server start --help"),
        (["start", "--port", "99999"], "invalid value for '--port'", "rerank-server start --help"),
        (["compare", "query"], "compare needs QUERY and DOCs", "rerank-server compare --help"),
        (["pull"], "missing argument", "rerank-server pull --help"),
        (["status", "extra"], "got unexpected extra argument", "rerank-server status --help"),
    ],
)
def test_a_usage_error_is_2_with_one_line_and_a_hint(
    arguments: list[str], first: str, hint: str
) -> None:
    done = finished(program(*arguments))

    assert (done.code, done.out, len(done.err)) == (2, [], 2)
    assert done.err[0].startswith(f"error: {first}")
    assert done.err[1] == f"hint: {hint}"


def test_start_without_a_config_is_3_and_lists_where_it_looked(short_dir: Path) -> None:
    done = finished([sys.executable, "-c", IN, str(short_dir), "start"])

    assert done == Done(
        3,
        [],
        [
            "error: no configuration: looked at /opt/bge-rerankers/config.yaml, "
            f"{short_dir}/etc/config.yaml; name one with --config, "
            "or write one with: rerank-server init --config"
        ],
    )


IN = (
    "import os, sys\n"
    "from rerank_server.__main__ import main\n"
    "os.chdir(sys.argv[1])\n"
    "main(sys.argv[2:])\n"
)


def test_pull_of_an_unknown_version_is_one_line(short_dir: Path) -> None:
    done = finished(program("pull", "v9-nothing", "--models-dir", str(short_dir)))

    assert (done.code, done.out, len(done.err)) == (1, [], 1)
    assert done.err[0].startswith("error: ")
    assert "v9-nothing" in done.err[0]


def test_pull_takes_the_models_directory_of_the_config(fake: Fake) -> None:
    fake.options.config.write_text("models_dir: 3\n")

    done = finished(program("pull", "v2-minilm", "--config", str(fake.options.config)))

    assert done.code == 3


def test_a_reader_that_goes_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        done = subprocess.run(
            program("--help"), stdout=closed, stderr=subprocess.PIPE, check=False, timeout=30
        )

    assert (done.returncode, done.stderr) == (1, b"")


def test_help_needs_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from rerank_server import cli\n"
        "cli.invoke(['--help'])\n"
        "heavy = {'pydantic', 'yaml', 'httpx', 'rich', 'torch', 'numpy', 'asyncio', 'psutil'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )

    assert finished([sys.executable, "-c", script]).err == ["[]"]


def test_every_verb_has_a_short_line_of_help() -> None:
    done = finished(program("--help"))

    commands = done.out[done.out.index("Commands:") + 1 :]
    verbs = [line.split(None, 1) for line in commands if line]
    assert [verb for verb, _ in verbs if verb != "Exit"] == [
        "start", "status", "stop", "restart", "reload", "rollback", "reset", "move", "traffic",
        "compare", "probe", "logs", "events", "init", "pull", "install", "check", "verify",
        "optimize", "export", "key", "config", "version", "rollout",
    ]  # fmt: skip
    assert not [line for line in commands if line.endswith("...")]
