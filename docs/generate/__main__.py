"""Writes the pages that follow from the code: python -m docs.generate."""

from __future__ import annotations

from pathlib import Path

from docs.generate import cli, configuration

DOCS = Path(__file__).parents[1]


def pages() -> dict[Path, str]:
    """Return every generated page and where it belongs."""
    return {
        DOCS / "cli.md": cli.page(),
        DOCS / "configuration.md": configuration.page(configuration.SHIPPED.read_text()),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
        print(path)
