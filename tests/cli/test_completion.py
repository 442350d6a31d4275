from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Done, finished
from tests.conftest import lack

PROGRAM = Path(sys.executable).with_name("rerank-server")


@pytest.fixture
def bash() -> str:
    found = shutil.which("bash")
    if found is None or not PROGRAM.exists():
        lack("no bash, or rerank-server is not installed beside its Python")
    return found


def completed(words: str) -> Done:
    """Ask for completions as bash does when Tab is pressed behind these words."""
    return finished(
        [str(PROGRAM)],
        {
            "_RERANK_SERVER_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
    )


@pytest.mark.process
def test_a_shell_is_given_what_it_completes_with(bash: str) -> None:
    # The last command of `bash -c` would take its place, and no shell would be found above.
    done = finished([bash, "-c", f"{PROGRAM} --show-completion; exit $?"])

    assert done.code == 0
    assert "complete -o default -F _rerank_server_completion rerank-server" in done.out


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("rerank-server st", ["start", "status", "stop"]),
        ("rerank-server reload --d", ["--dry-run"]),
        ("rerank-server pull --source ", ["hf", "modelscope"]),
    ],
)
@pytest.mark.usefixtures("bash")
def test_verbs_options_and_their_values_are_completed(words: str, expected: list[str]) -> None:
    assert completed(words).out == expected
