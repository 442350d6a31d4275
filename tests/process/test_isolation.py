"""What one version is, does and breaks stays within it: libraries, files, processes, traffic."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import lack
from tests.families.tiny import torch_version
from tests.process.server import Server

pytestmark = pytest.mark.process

# Answers questions about the inside of its own process: each document is a Python expression.
WITNESS = """\
import importlib.util, os, sys
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers

words = Tokenizer(models.WordLevel({"?": 0, "jet": 1}, unk_token="?"))
words.pre_tokenizer = pre_tokenizers.Whitespace()

def can_import(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True

def rerank(query, docs):
    assert words.encode("a jet").ids == [0, 1]
    try:
        return [float(bool(eval(doc))) for doc in docs]
    except (NameError, SyntaxError):  # the warm-up and the probe ask in English
        return [0.5 for _ in docs]
"""


def witness(server: Server, name: str, requirements: str | None = None) -> None:
    directory = server.models_dir / name
    directory.mkdir(parents=True)
    (directory / "rerank.py").write_text(WITNESS)
    if requirements is not None:
        (directory / "requirements.txt").write_text(requirements)


def install(server: Server, *names: str) -> None:
    """Run `rerank-server install`; skip the test where the packages cannot be had."""
    command = [sys.executable, "-m", "rerank_server", "install", *names]
    done = subprocess.run(
        [*command, "--models-dir", str(server.models_dir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    if done.returncode != 0:
        lack(f"pip cannot install what the versions need: {done.stderr[-500:]}")
    assert done.stdout == f"installed: {', '.join(names)}\n"


def ask(server: Server, version: str, *questions: str) -> list[bool]:
    answer = server.rerank(f"/rerank/{version}", list(questions)).json()
    assert answer.get("version") == version, f"{answer}\n{server.logs()}"
    return [score == 1.0 for score in answer["scores"]]


@pytest.mark.env
@pytest.mark.timeout(300)
def test_three_releases_of_one_library_serve_at_once(server: Server) -> None:
    witness(server, "v1", "tokenizers==0.21.0\n")
    witness(server, "v2", "tokenizers==0.22.1\n")
    witness(server, "v3")
    install(server, "v1", "v2")
    server.environment = {"PYTHONPATH": "/nowhere/at/all", "SECRET_OF_THE_SHELL": "x"}
    server.configure("v1", {"v1": {}, "v2": {"env": {"MINE": "2"}}, "v3": {}})
    server.start()

    release = "tokenizers.__version__ == '{}'.format"
    for version, expected in (("v1", "0.21.0"), ("v2", "0.22.1")):
        assert ask(server, version, f"{release}({expected!r})") == [True]
    assert ask(server, "v3", *(f"{release}({r!r})" for r in ("0.21.0", "0.22.1"))) == [False] * 2

    for version in ("v1", "v2", "v3"):
        others = {"v1", "v2", "v3"} - {version}
        assert ask(
            server,
            version,
            "can_import('rerank_server')",
            "'PYTHONPATH' in os.environ or 'SECRET_OF_THE_SHELL' in os.environ",
            "any('/nowhere' in path for path in sys.path)",
            f"any('/%s/' % name in path + '/' for path in sys.path for name in {others})",
            "can_import('numpy') and can_import('rerank_workers')",
        ) == [False, False, False, False, True]
        assert ask(server, version, "os.environ.get('MINE') == '2'") == [version == "v2"]

    assert links_under(server.models_dir) == []


def links_under(directory: Path) -> list[str]:
    """Return the links in a tree, but for that to an interpreter which cannot be copied."""
    found = [path for path in directory.rglob("*") if path.is_symlink()]
    return [str(path) for path in found if path.parent.name != "bin"]


def test_a_model_that_was_swapped_for_a_fine_tuned_one_rolls_that_version_alone(
    server: Server,
) -> None:
    for name, seed in (("v1", 1), ("v2-m3", 2)):
        tiny(server, name, seed)
    server.configure("v2-m3", {"v1": {}, "v2-m3": {}, "v2-m3-prod": {"source": "v2-m3"}})
    server.start()
    before = {name: server.pid_of(name) for name in ("v1", "v2-m3", "v2-m3-prod")}
    scores = server.rerank("/rerank/v1").json()["scores"]
    tuned = torch_version(server.root / "tuned", "XLMRobertaForSequenceClassification", seed=3)

    model = server.models_dir / "v1" / "model"
    model.rename(server.root / "replaced")
    (tuned / "model").rename(model)
    done = server.cli("reload")

    assert done.stdout == "replaced: v1\nkept: v2-m3, v2-m3-prod\n"
    assert server.pid_of("v1") != before["v1"]
    assert {name: server.pid_of(name) for name in before if name != "v1"} == {
        name: pid for name, pid in before.items() if name != "v1"
    }
    assert server.rerank("/rerank/v1").json()["scores"] != scores


def tiny(server: Server, name: str, seed: int) -> None:
    made = torch_version(server.models_dir / name, "XLMRobertaForSequenceClassification", seed=seed)
    template = Path("workers/rerank_workers/templates/cross_encoder.py")
    shutil.copy(Path(__file__).parents[2] / template, made / "rerank.py")


def test_a_repaired_version_starts_with_the_next_reload(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2": {}})
    code = server.models_dir / "v2" / "rerank.py"
    good = code.read_text()
    code.write_text("def rank(query, docs): ...\n")
    server.start()
    assert "it defines no function rerank" in server.version("v2")["reason"]
    kept = server.pid_of("v1")

    repaired = code.with_suffix(".new")
    repaired.write_text(good)
    repaired.replace(code)
    done = server.cli("reload")

    assert done.stdout == "started: v2\nkept: v1\n"
    assert server.rerank("/rerank/v2").json()["fallback"] is None
    assert server.pid_of("v1") == kept


def branch(*, enabled: bool = True) -> dict[str, object]:
    env = {"TEST_SCORE": "0.9"}
    return {"source": "v2-m3", "fallback": "none", "enabled": enabled, "env": env}


def test_a_branch_has_the_files_of_its_source_and_all_else_of_its_own(server: Server) -> None:
    source = {"env": {"TEST_SCORE": "0.2"}}
    server.configure("v2-m3", {"v2-m3": source, "v2-m3-prod": branch()})
    server.start()

    assert [path.name for path in server.models_dir.iterdir()] == ["v2-m3"]
    assert server.pid_of("v2-m3") != server.pid_of("v2-m3-prod")
    assert server.rerank("/rerank/v2-m3").json()["scores"][0] == 0.2
    assert server.rerank("/rerank/v2-m3-prod").json()["scores"][0] == 0.9
    assert server.rerank(X_Rerank_Version="v2-m3-prod").json()["version"] == "v2-m3-prod"
    assert answered(server) == {"v2-m3": 1, "v2-m3-prod": 2}

    # Switched off, it is answered for by nobody.
    server.configure("v2-m3", {"v2-m3": source, "v2-m3-prod": branch(enabled=False)})
    assert server.cli("reload").stdout == "stopped: v2-m3-prod\nkept: v2-m3\n"
    assert server.rerank("/rerank/v2-m3-prod").status_code == 503
    assert answered(server)["v2-m3"] == 1


def test_a_branch_answers_for_nobody_else(server: Server) -> None:
    broken = {"env": {"TEST_MODE": "fail at import"}}
    server.configure("v2-m3", {"v2-m3": broken, "v2-m3-prod": branch()})

    server.start()

    assert server.rerank().status_code == 503
    assert server.rerank("/rerank/v2-m3").status_code == 503
    assert server.rerank("/rerank/v2-m3-prod").status_code == 200


def answered(server: Server) -> dict[str, int]:
    """Return the requests each version answered with 200, by the metrics."""
    pattern = r'reranker_requests_total\{(?=.*status="200").*version="([^"]+)".*\} (\d+)'
    found = re.findall(pattern, server.client.get("/metrics").text)
    return {version: int(count) for version, count in found}
