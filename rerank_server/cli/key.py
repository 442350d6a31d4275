"""The verb that makes an API key and the line that lets the server know it."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from rerank_server.core.access import ALL_SCOPES, ApiKey, Scope, digest_of, line_of

_KEY_BYTES = 32


def key(
    *,
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="What it may do; default: all.")
    ] = None,
    comment: Annotated[str, typer.Option("--comment", help="Whom it is for.")] = "",
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Add its line to this file.")
    ] = None,
) -> int:
    """Make an API key.

    Prints the key, which is kept nowhere, then the line with its digest for the file that
    server.api_keys_file names. After a change of that file: rerank-server reload.
    """
    made = f"rrs_{secrets.token_urlsafe(_KEY_BYTES)}"
    line = line_of(ApiKey(digest_of(made), tuple(scope) if scope else ALL_SCOPES))
    said = " ".join(comment.split())
    line = f"{line} # {said}" if said else line
    print(made)
    if file is None:
        print(line)
        return 0
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(fd, "a", encoding="utf-8") as lines:  # noqa: PTH123  # a descriptor, for its mode
        lines.write(f"{line}\n")
    print(f"added to {file}; now: rerank-server reload", file=sys.stderr)
    return 0
