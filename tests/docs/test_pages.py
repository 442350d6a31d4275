"""What the pages name is there: verbs, options, files, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from rerank_server.cli import app
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = typer.main.get_command(app)
assert isinstance(COMMAND, TyperGroup)
VERBS = COMMAND.commands
CALL = re.compile(r"rerank-server((?: +(?:\\\n *)?[^\s`|;&()#,]+)*)")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def calls(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each command line of a page, split at blanks, and the verb it starts with."""
    fenced = re.findall(r"^```(?:bash|sh)?\n(.*?)^```$", page.read_text(), re.M | re.S)
    inline = re.findall(r"`(rerank-server [^`]+)`", page.read_text())
    for text in (*fenced, *inline):
        for found in CALL.finditer(text):
            words = found[1].replace("\\\n", " ").split()
            if words and re.fullmatch(r"[a-z]+", words[0]):
                yield words[0], words[1:]


def options_of(verb: object, words: list[str]) -> set[str]:
    """Return the options of a verb, or of the one below it that the words begin with."""
    if isinstance(verb, TyperGroup) and words:
        verb = verb.commands.get(words[0], verb)
    return {name for parameter in getattr(verb, "params", ()) for name in parameter.opts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_verb_and_option_a_page_shows_exists(page: Path) -> None:
    for verb, words in calls(page):
        assert verb in VERBS, f"{page.name}: rerank-server {verb}"
        options = options_of(VERBS[verb], words) | {"--help"}
        shown = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert shown <= options, f"{page.name}: rerank-server {verb} {shown - options}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, f"{page.name}: {link}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        reached.add(page)
        links = {link.partition("#")[0] for link in LINK.findall(page.read_text())}
        targets = {(page.parent / link).resolve() for link in links if link.endswith(".md")}
        todo += sorted(targets - reached)

    assert set(PAGES) <= reached


def test_the_readme_lists_every_verb() -> None:
    table = (ROOT / "README.md").read_text()
    shown = set(re.findall(r"`(?:rerank-server )?([a-z]+)\b[^`]*`", table))

    assert set(VERBS) - shown <= {"version"}
