"""Long documents through a real server: cut off by default, window by window when told."""

from __future__ import annotations

import pytest

from tests.process.server import Server

pytestmark = pytest.mark.process

CODE = '''
"""Reads twenty words of a document; a document is as good as it often says jet."""
from dataclasses import dataclass

ROOM = 20


@dataclass
class Item:
    text: str
    tokens: int
    truncated: bool


class Words:
    mixes_requests = True
    info = {"family": "words"}

    def encode(self, query, docs):
        words = [doc.split() for doc in docs]
        return [Item(" ".join(w[:ROOM]), min(len(w), ROOM), len(w) > ROOM) for w in words]

    def score(self, items):
        return [item.text.count("jet") / 10 for item in items]

    def to_unit(self, raw):
        return raw


def load(context):
    return Words()


def rerank(query, docs):
    raise NotImplementedError
'''
LONG = "It has no wings at all. " * 9 + "A jet is a jet. " + "It has no wings at all. " * 9
DOCS = ["one jet", LONG]


def test_long_documents_are_cut_off_until_a_reload_says_chunk(server: Server) -> None:
    directory = server.models_dir / "v1"
    directory.mkdir(parents=True)
    (directory / "rerank.py").write_text(CODE)
    server.configure("v1", {"v1": {}})
    server.start()

    cut_off = server.rerank(docs=DOCS).json()
    server.configure("v1", {"v1": {"long_docs": "chunk"}})
    done = server.cli("reload")
    chunked = server.rerank(docs=DOCS).json()

    assert done.returncode == 0, done.stderr
    assert cut_off["scores"] == [0.1, 0.0]
    assert cut_off["results"][1] == {"index": 1, "score": 0.0, "truncated": True}
    assert chunked["scores"] == [0.1, 0.2]
    assert chunked["results"][1] == {"index": 0, "score": 0.1}
    window = chunked["results"][0]["window"]
    assert "A jet is a jet." in LONG[window["start"] : window["end"]]
    assert 0 < window["number"] < window["count"]
