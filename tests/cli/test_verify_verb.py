from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rerank_server.cli.verify import Check, Verified, render
from tests.cli.conftest import Done
from tests.cli.place import FAMILY, Place
from tests.families import tiny

pytestmark = pytest.mark.process  # each verification is a process of its own

BY_WORDS = """
def rerank(query, docs):
    words = set(query.lower().strip("?").split()) or {""}
    return [len(words & set(doc.lower().replace(".", "").split())) / len(words) for doc in docs]
"""


@pytest.fixture
def place(short_dir: Path) -> Place:
    return Place(short_dir)


def verdicts(found: Mapping[str, Any]) -> dict[str, object]:
    return {check["name"]: check["ok"] for check in found["checks"]}


def test_each_enabled_version_is_proved_and_shown_with_its_settings(place: Place) -> None:
    place.version("v1", BY_WORDS)
    place.configure(v1={}, v1_prod={"source": "v1"}, v2={"enabled": False})

    done = place.run("verify")

    section = [
        "  order       ok      the right document first for 3 of 3 queries; not in Chinese",
        "  finite      ok      17 scores; 0 documents cut to fit",
        "  repeatable  ok      two runs are equal",
        "  neighbours  ok      requests share no batch; by itself one differs by 0",
        "  family      custom",
        "  engine      rerank.py",
    ]
    assert done == Done(0, ["v1 (model): ok", *section, "v1-prod (model): ok", *section], [])


def test_a_disabled_version_is_verified_when_it_is_named(place: Place) -> None:
    place.version("v2", BY_WORDS)
    place.configure(v1={}, v2={"enabled": False})

    code, found = place.verified("v2")

    assert (code, found["version"], found["ok"]) == (0, "v2", True)


@pytest.mark.parametrize(
    ("code", "failed", "text"),
    [
        (
            "def rerank(query, docs): return [i / 10 for i, _ in enumerate(docs)]",
            ["order"],
            "the right document first for 0 of 3",
        ),
        (
            "def rerank(query, docs): return [float('nan')] * len(docs)",
            ["finite"],
            "score gave nan for document 0",
        ),
        (
            BY_WORDS + "import itertools\nn = itertools.count()\ngood = rerank\n"
            "def rerank(query, docs):\n    f = 1 - next(n) / 100\n"
            "    return [f * x for x in good(query, docs)]\n",
            ["repeatable", "neighbours"],
            "two runs differ by",
        ),
    ],
    ids=["order", "finite", "repeatable"],
)
def test_what_is_wrong_is_said_and_the_exit_code_is_1(
    place: Place, code: str, failed: list[str], text: str
) -> None:
    place.version("v1", code)
    place.configure(v1={})

    done = place.run("verify", "v1")

    assert (done.code, done.out[0]) == (1, "v1 (model): NOT OK")
    wrong = [line for line in done.out[1:] if "NOT OK" in line]
    assert [line.split()[0] for line in wrong] == failed
    assert text in wrong[0]


def test_a_version_that_cannot_be_run_is_one_line_and_the_others_go_on(place: Place) -> None:
    place.version("v1", "import frobnicate")
    place.version("v2", BY_WORDS)
    place.version("v3", BY_WORDS).joinpath("tokenizer").mkdir()
    place.configure(v1={}, v2={}, v3={})

    done = place.run("verify")

    assert done.code == 1
    assert done.out[:3] == [
        "v1 (model): NOT OK",
        "  rerank.py: ModuleNotFoundError: No module named 'frobnicate'",
        "v2 (model): ok",
    ]
    assert done.out[-2:] == ["v3: NOT OK", "  no model files; run: rerank-server pull v3"]


def test_a_process_that_dies_tells_its_last_words(place: Place) -> None:
    place.version("v1", "import os, sys\nprint('out of luck', file=sys.stderr)\nos._exit(9)")
    place.configure(v1={})

    assert place.run("verify").out == ["v1: NOT OK", "  ended with code 9: out of luck"]


@pytest.mark.parametrize("verb", ["verify", "optimize"])
def test_a_name_that_is_not_configured_is_2_and_a_faulty_config_3(place: Place, verb: str) -> None:
    place.configure(v1={})
    unknown = place.run(verb, "v11")
    place.configure(v1={"device": "tpu"})
    faulty = place.run(verb, "v1")

    assert unknown == Done(2, [], ["error: no version v11 in the configuration; did you mean v1?"])
    assert (faulty.code, faulty.out) == (3, [])


def test_retime_forgets_the_choice_of_an_engine(place: Place) -> None:
    place.version("v1", BY_WORDS)
    place.configure(v1={})
    store = place.state / "engines" / "v1.json"
    store.parent.mkdir(parents=True)
    store.write_text("{}")

    place.run("verify", "v1")
    kept = store.exists()
    done = place.run("verify", "v1", "--retime")

    assert (kept, done.code, store.exists()) == (True, 0, False)


def test_a_models_two_folders_are_compared_with_each_other_and_with_fp32(place: Place) -> None:
    directory = place.version("v1", FAMILY)
    tiny.torch_version(directory, "BertForSequenceClassification")
    shutil.copytree(directory / "model", directory / "model_cpu")
    place.configure(v1={"cpu_model": "model_cpu"})

    code, same = place.verified("v1")
    shutil.rmtree(directory / "model_cpu")
    tiny.torch_version(directory / "other", "BertForSequenceClassification", seed=7)
    shutil.move(directory / "other" / "model", directory / "model_cpu")
    _, changed = place.verified("v1")

    # Random weights know no right answer.
    assert (code, verdicts(same)) == (
        1,
        {
            "order": False, "finite": True, "repeatable": True, "neighbours": True,
            "model": True, "fp32": True,
        },
    )  # fmt: skip
    (figures,) = (check["figures"] for check in same["checks"] if check["name"] == "model")
    assert (figures["spearman"], figures["max_deviation"]) == (pytest.approx(1), 0)
    assert same["model"] == "model_cpu"
    assert (same["settings"]["dtype"], same["settings"]["family"]) == ("float32", "cross_encoder")
    assert (verdicts(changed)["model"], verdicts(changed)["fp32"]) == (False, False)


def test_a_folder_that_cannot_be_run_fails_the_comparison_alone(place: Place) -> None:
    directory = place.version("v1", FAMILY)
    tiny.onnx_version(directory, hidden=False)
    (directory / "model_cpu").mkdir()
    (directory / "model_cpu" / "model.onnx").write_bytes(b"no graph")
    place.configure(v1={})

    _, found = place.verified("v1")

    assert verdicts(found)["model_cpu"] is False
    assert verdicts(found)["fp32"] is True
    (text,) = (check["text"] for check in found["checks"] if check["name"] == "model_cpu")
    assert text.startswith("cannot be run: rerank.py: ")


def test_a_warning_is_shown_and_the_version_is_well() -> None:
    check = Check("model_cpu", True, "further away", {}, warns=True)

    lines = render(Verified("v1", "model", [check], {}))

    assert lines == ["v1 (model): ok, with a warning", "  model_cpu  WARN    further away"]


@pytest.mark.weights
def test_the_demo_finds_the_right_documents_and_names_its_distance(
    place: Place, demo_models: Path
) -> None:
    shutil.copytree(demo_models / "v2-minilm", place.models / "v2-minilm")
    place.configure(v2_minilm={})

    code, found = place.verified("v2-minilm")

    names = ("order", "finite", "repeatable", "neighbours", "model_cpu", "fp32")
    assert (code, verdicts(found)) == (0, dict.fromkeys(names, True))
    (check,) = (check for check in found["checks"] if check["name"] == "model_cpu")
    assert check["figures"]["spearman"] > 0.99
    assert check["figures"]["max_deviation"] == pytest.approx(0.6, abs=0.2)
    # Its int8 file, made by others, is further from the original than `optimize` lets one be.
    assert check["warns"] is (check["figures"]["max_deviation"] > 0.5)
    assert ("`rerank-server optimize v2-minilm`" in check["text"]) is check["warns"]
