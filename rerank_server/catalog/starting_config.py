"""Writes the commented configuration a new installation starts from."""

from __future__ import annotations

import re
from pathlib import Path

import rerank_server
from rerank_server.catalog.staging import disk_errors, write_new
from rerank_server.errors import CatalogError

DEFAULT_PATH = Path("etc/config.yaml")
"""Where every command looks for it below the working directory."""


def write_config(path: Path = DEFAULT_PATH, *, is_demo: bool = False) -> Path:
    """Write `config.yaml` (or the demo's three versions) with every key explained.

    In a folder called `etc` the versions are kept beside it, in `../models`; elsewhere in `models`
    next to the file.

    Raises:
        CatalogError: there is a file already, or it cannot be written.
    """
    text = shipped("demo.yaml" if is_demo else "config.yaml")
    if path.absolute().parent.name != "etc":
        text = re.sub(r"(?m)^models_dir: \.\./models$", "models_dir: models", text)
    if path.exists():
        raise CatalogError(f"{path} exists; it was left as it is")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, text)
    return path


def shipped(name: str) -> str:
    """Read a file of `etc/`: from the installed package, or from the checkout it runs in.

    Raises:
        CatalogError: this installation lacks it.
    """
    package = Path(rerank_server.__file__).parent
    for folder in (package / "share" / "etc", package.parent / "etc"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise CatalogError(f"this installation has no etc/{name}; install it again")
