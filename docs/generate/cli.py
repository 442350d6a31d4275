"""The reference of the command line, as `--help` prints it."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from typer.core import TyperGroup

from rerank_server import cli

_COLUMNS = 90
_HEAD = """\
# Command line

<!-- Made by: python -m docs.generate -->

What `rerank-server VERB --help` prints, for every verb. Results go to stdout, all else to stderr;
`--json` is for scripts, its keys only ever grow.

| Exit code | Meaning |
|---|---|
| 0 | done |
| 1 | failed, with the reason on stderr |
| 2 | called with arguments that do not fit |
| 3 | the configuration is not valid, or there is none |
| 4 | no server runs |
| 130 | ended by Ctrl-C |

Completion for the shell that runs: `rerank-server --install-completion`.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_verbs()])


def _verbs() -> Iterator[str]:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    above = group.make_context(cli.PROGRAM, ["version"], terminal_width=_COLUMNS)
    yield _section(cli.PROGRAM, group.get_help(above))
    names = group.list_commands(above)
    todo = [(f"{cli.PROGRAM} {name}", group.commands[name], above) for name in names]
    while todo:
        title, verb, outer = todo.pop(0)
        name = title.rpartition(" ")[2]
        within = verb.make_context(
            name, [], parent=outer, terminal_width=_COLUMNS, resilient_parsing=True
        )
        yield _section(title, verb.get_help(within))
        if isinstance(verb, TyperGroup):
            names = verb.list_commands(within)
            todo[:0] = [(f"{title} {name}", verb.commands[name], within) for name in names]


def _section(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"
