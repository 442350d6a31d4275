from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from rerank_server.cli.evaluate.page import page
from rerank_server.cli.evaluate.report import Report
from tests.cli.evaluate.browser import opened, read
from tests.cli.evaluate.reports import asked, identity, question, report

GOOD, BAD, MIDDLING = (0.9, 0.2, 0.1), (0.1, 0.2, 0.9), (0.3, 0.4, 0.1)
EVIL = '</script><script>document.title = "owned"</script><img src=x onerror="alert(1)">'


def three(questions: int) -> Report:
    rows = [
        asked(
            question(line, (1, 0, 0), EVIL),
            {"v1": BAD if line % 3 else GOOD, "v2": GOOD if line % 4 else BAD, "v3": MIDDLING},
        )
        for line in range(1, questions + 1)
    ]
    return report(rows, "v1", "v2", "v3")


@cache
def variants() -> Mapping[str, Report]:
    labels = (3, 0, 1)
    failing = [
        asked(question(line, labels), {"v1": GOOD, "v2": "no" if line > 1 else BAD})
        for line in range(1, 90)
    ]
    same = [asked(question(line, labels), {"v1": GOOD, "v2": GOOD}) for line in (1, 2)]
    return {
        "three versions": three(9),
        "many questions": three(300),
        "no labels": report([asked(question(1, None), {"v1": GOOD, "v2": BAD})], "v1", "v2"),
        "nothing measured": report([], "v1", "v2", total=3, stopped="interrupted"),
        "one always fails": report(
            [asked(question(1, labels), {"v1": GOOD, "v2": "no"})], "v1", "v2"
        ),
        "failures": report(failing, "v1", "v2", after={"v2": identity("v2", degraded="slow")}),
        "no difference": report(same, "v1", "v2"),
        "one document": report(
            [asked(question(1, (1,)), {"v1": (0.5,), "v2": (0.4,)})], "v1", "v2"
        ),
    }


@pytest.mark.parametrize("name", variants())
def test_a_page_is_whole_and_needs_nothing_from_elsewhere(name: str) -> None:
    made = page(variants()[name])

    reader = read(made)
    links = [
        value
        for _, attributes in reader.started
        for key, value in attributes.items()
        if key in ("src", "href", "action") and value is not None
    ]
    assert all(link.startswith(("#", "data:,")) for link in links)
    assert "://" not in made
    assert "url(" not in made
    assert not re.search(r"\b(nan|inf)\b", made)
    targets = {attributes.get("id") for _, attributes in reader.started}
    assert {link[1:] for link in links if link.startswith("#")} <= targets


def test_texts_of_the_file_are_shown_and_never_become_markup() -> None:
    reader = read(page(variants()["three versions"]))

    assert any("onerror" in text for text in reader.texts)
    assert {tag for tag, _ in reader.started}.isdisjoint({"img", "iframe", "object"})
    assert sum(tag == "script" for tag, _ in reader.started) == 1


def test_a_page_says_what_was_measured_and_on_which_models() -> None:
    text = " ".join(read(page(variants()["failures"])).texts)

    for said in (
        *("v1 against v2", "questions.jsonl", "89 questions", "graded labels"),
        *("2027-01-15 08:00 UTC", "rerank-server 0.1.0", "torch 2.13.0", "bfloat16"),
        *("cdcdcdcdcdcdcdcd", "degraded: slow", "ab" * 32, "584 MiB", "88 of 89"),
        *("Requests that failed: 88", "and 38 more", "grade 3", "few labelled questions (1)"),
    ):
        assert said in text


def test_at_most_twenty_questions_won_and_lost_are_listed_and_all_are_counted() -> None:
    reader = read(page(variants()["many questions"]))

    details = [attributes["id"] for tag, attributes in reader.started if tag == "details"]
    assert len(details) == len(set(details)) <= 3 * 2 * 20
    assert any("the first 20 of 150" in text for text in reader.texts)


def test_the_browser_of_these_tests_hears_complaints(tmp_path: Path) -> None:
    file = tmp_path / "wrong.html"
    file.write_text("<!doctype html><html><body><script>nothing.at.all()</script></body></html>")

    [complaint] = opened(file).complaints

    assert "nothing is not defined" in complaint


@pytest.mark.parametrize("name", ["three versions", "no labels", "nothing measured"])
def test_a_browser_has_nothing_to_complain_of(name: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(variants()[name]))

    assert opened(file).complaints == []


def test_the_page_shows_one_pair_and_opens_the_question_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(variants()["three versions"]))

    shown = opened(file, "#q0-1")

    assert "<title>v1, v2 and v3</title>" in shown.dom
    pairs = [found for found in shown.elements("div") if "data-pair" in found]
    assert [found["data-pair"] for found in pairs if "hidden" not in found] == ["0"]
    assert [found["id"] for found in shown.elements("details") if "open" in found] == ["q0-1"]
    assert len(shown.elements("svg")) >= 3 * 4 + 3 + 2
