"""Labelled pairs to measure ranking with, built from Debian's public package descriptions.

A query is a package's synopsis; its documents are the 50 long descriptions BM25 ranks highest among
a sample of packages, in that order; relevant is the package's own. Packages whose own description
BM25 does not find are left out. Works on any Debian machine that reaches a mirror.

    python -m benchmarks.debian_pairs pairs.jsonl.gz [--queries 60] [--packages 12000]
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import re
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_K1, _B = 1.5, 0.75  # BM25's usual constants
_SHORTEST = 200  # characters of a long description worth ranking
_CAT = "/usr/lib/apt/apt-helper"


@dataclass(frozen=True, slots=True)
class Package:
    """What Debian says of a package."""

    name: str
    synopsis: str
    description: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """One query, its documents, and which of them are relevant (indices)."""

    query: str
    docs: tuple[str, ...]
    relevant: tuple[int, ...]


def read(path: Path, most: int | None = None) -> list[Ranking]:
    """Read the first rankings of a file this script wrote."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    found = [json.loads(line) for line in text.splitlines()]
    return [Ranking(r["query"], tuple(r["docs"]), tuple(r["relevant"])) for r in found[:most]]


def descriptions() -> str:
    """Fetch the English descriptions of this machine's Debian release through apt."""
    with tempfile.TemporaryDirectory(prefix="rrs-apt-") as scratch:
        lists = Path(scratch, "lists")
        (lists / "partial").mkdir(parents=True)
        options = ["-o", f"Dir::State::Lists={lists}", "-o", "Acquire::Languages=en"]
        subprocess.run(["apt-get", "-qq", *options, "update"], check=True)
        found = subprocess.run(
            ["apt-get", *options, "indextargets", "--format", "$(FILENAME)",
             "Created-By: Translations"],
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        texts = [
            subprocess.run([_CAT, "cat-file", name], check=True, capture_output=True).stdout
            for name in found
            if Path(name).exists()
        ]
    return b"".join(texts).decode("utf-8", "replace")


def parse(text: str, most: int) -> list[Package]:
    """Parse a Translation-en file; keep a sample that depends on nothing but names."""
    found: dict[str, Package] = {}
    for record in text.split("\n\n"):
        name = re.search(r"^Package: (.*)$", record, re.MULTILINE)
        body = re.search(r"^Description-en: (.*)\n((?: .*\n?)+)", record, re.MULTILINE)
        if name is None or body is None:
            continue
        lines = (line[1:].strip() for line in body[2].splitlines())
        long = " ".join("\n" if line == "." else line for line in lines).strip()
        if len(long) >= _SHORTEST:
            found[name[1]] = Package(name[1], body[1], long)
    order = sorted(found, key=lambda name: hashlib.sha256(name.encode()).digest())
    return [found[name] for name in order[:most]]


class Bm25:
    """An inverted index over documents."""

    def __init__(self, docs: Sequence[str]) -> None:
        counts = [Counter(_words(doc)) for doc in docs]
        lengths = [sum(count.values()) for count in counts]
        mean = sum(lengths) / len(lengths)
        self._norms = [_K1 * (1 - _B + _B * length / mean) for length in lengths]
        self._postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for index, count in enumerate(counts):
            for word, times in count.items():
                self._postings[word].append((index, times))
        self._docs = len(docs)

    def top(self, query: str, most: int) -> list[int]:
        """Return the best documents' indices, best first; ties in order of index."""
        scores: dict[int, float] = defaultdict(float)
        for word in _words(query):
            postings = self._postings.get(word, [])
            weight = math.log(1 + (self._docs - len(postings) + 0.5) / (len(postings) + 0.5))
            for index, times in postings:
                scores[index] += weight * times * (_K1 + 1) / (times + self._norms[index])
        return sorted(scores, key=lambda index: (-scores[index], index))[:most]


def rankings(sample: Sequence[Package], queries: int, docs: int) -> Iterator[Ranking]:
    """Yield labelled rankings, in the sample's order."""
    index = Bm25([package.description for package in sample])
    for own, package in enumerate(sample):
        if queries == 0:
            return
        top = index.top(package.synopsis, docs)
        if len(top) == docs and own in top:
            queries -= 1
            texts = tuple(sample[place].description for place in top)
            yield Ranking(package.synopsis, texts, (top.index(own),))


def write(path: Path, *, queries: int, docs: int, packages: int) -> None:
    """Build rankings and write them as JSON lines, compressed where the name ends in .gz."""
    sample = parse(descriptions(), packages)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        for found in rankings(sample, queries, docs):
            line = {"query": found.query, "docs": found.docs, "relevant": found.relevant}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def found(path: Path | None) -> Path:
    """Return the file of labelled pairs; without one, make it once below .bench/."""
    if path is not None:
        return path
    kept = Path(__file__).parent.parent / ".bench" / "pairs.jsonl.gz"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        write(kept, queries=60, docs=50, packages=12_000)
    return kept


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def main() -> None:
    parser = argparse.ArgumentParser(description="Build labelled pairs from Debian's packages.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--docs", type=int, default=50)
    parser.add_argument("--packages", type=int, default=12_000)
    arguments = parser.parse_args()
    write(
        arguments.output,
        queries=arguments.queries,
        docs=arguments.docs,
        packages=arguments.packages,
    )


if __name__ == "__main__":
    main()
