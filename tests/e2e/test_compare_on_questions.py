"""Two demo versions compared on labelled questions, and the report opened in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.evaluate.browser import opened, read
from tests.process.server import Server

pytestmark = [pytest.mark.process, pytest.mark.weights]

QUESTIONS = Path(__file__).with_name("questions.jsonl")
VERSIONS = ("v1-bge-small", "v2-minilm")


@pytest.fixture
def two(demo_models: Path, short_dir: Path) -> Iterator[Server]:
    """Return a server that runs a bi-encoder and a cross-encoder."""
    server = Server(short_dir)
    for name in VERSIONS:
        shutil.copytree(demo_models / name, server.models_dir / name)
    server.configure("v2-minilm", {name: {} for name in VERSIONS})
    server.start()
    yield server
    server.close()


def asked(server: Server) -> list[int]:
    return [server.version(name)["totals"]["requests"] for name in VERSIONS]


def test_two_versions_on_labelled_questions(two: Server) -> None:
    page = two.root / "report.html"

    done = two.cli(
        *("compare", "--file", str(QUESTIONS), "--versions", ",".join(VERSIONS)),
        *("--k", "3", "--json", "--html", str(page)),
    )

    assert (done.returncode, done.stderr) == (0, f"report: {page}\n")
    value = json.loads(done.stdout)
    small, large = value["versions"]
    assert [small["version"], large["version"]] == [*VERSIONS]
    assert (value["judged"], small["failed"], large["failed"]) == (12, 0, 0)
    assert large["quality"]["MRR"]["mean"] > 0.8
    assert large["quality"]["nDCG@3"]["low"] > 0.7
    assert small["memory_bytes"] > 30e6
    assert all(len(arm["model_sha256"]) == 64 for arm in (small, large))
    assert small["engine"].startswith("onnxruntime")
    assert len(value["differences"]) == 3
    assert all(0 < found["p"] <= found["p_holm"] <= 1 for found in value["differences"])
    assert value["agreements"][0]["kendall_tau"] > 0
    # Each was asked every question and once to warm up, and nobody answered for another.
    two.until(lambda: asked(two) == [13, 13], "both were asked 13 times, as is told every second")

    shown = opened(page)
    text = " ".join(read(shown.dom).texts)
    assert shown.complaints == []
    assert "<title>v1-bge-small against v2-minilm</title>" in shown.dom
    assert f"{large['quality']['nDCG@3']['mean']:.3f}" in text
    assert small["model_sha256"][:16] in text
    won = [result for result in value["results"] if _gap(result)]
    assert len(shown.elements("details")) == len(won)


def _gap(result: dict[str, dict[str, dict[str, dict[str, float]]]]) -> float:
    small, large = (result["versions"][name]["quality"]["nDCG@3"] for name in VERSIONS)
    return large - small


def test_the_same_questions_give_the_same_figures_again(two: Server) -> None:
    asked = ("compare", "--file", str(QUESTIONS), "--json")

    first, second = (json.loads(two.cli(*asked).stdout) for _ in range(2))

    assert first["differences"] == second["differences"]
    assert [arm["quality"] for arm in first["versions"]] == [
        arm["quality"] for arm in second["versions"]
    ]


def test_a_version_that_is_switched_off_is_named_and_never_answered_for(two: Server) -> None:
    two.configure("v2-minilm", {"v1-bge-small": {"enabled": False}, "v2-minilm": {}})
    assert two.cli("reload").returncode == 0

    done = two.cli("compare", "--file", str(QUESTIONS), "--versions", ",".join(VERSIONS))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: cannot be compared now: v1-bge-small: DISABLED\n"
