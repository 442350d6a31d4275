"""What a cascade gains in speed and loses in agreement, for several cuts, through a real server.

Two pairs of versions. In the first the strong one is many times dearer: a cross-encoder of
XLM-RoBERTa-large's size (24 layers, 1024 wide) behind MiniLM. Its weights are random, so only its
speed means anything; what it ranks does not, and no quality is printed. In the second both are of
one size: bge-small-en-v1.5 prunes, MiniLM-L12 decides. There the agreement is real, and the gain
small. Versions take turns, query by query, so that a slow phase of the machine hits them all.

    python -m benchmarks.cascade [--pairs FILE] [--large-queries 2] [--queries 40]
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import yaml

from benchmarks import debian_pairs, machine
from benchmarks.debian_pairs import Ranking
from rerank_workers.optimize.quality import compare

ROOT = Path(__file__).parent.parent
_START_S = 300.0
_LARGE = "v3-large"
_LARGE_ROUNDS = 2
_SMALL_ROUNDS = 1
_BUILD = """
import sys
from pathlib import Path
import torch
from transformers import BertConfig, BertForSequenceClassification
torch.manual_seed(0)
config = BertConfig.from_pretrained(sys.argv[1])
config.update({"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
               "intermediate_size": 4096})
BertForSequenceClassification(config).save_pretrained(sys.argv[2])
"""
"""XLM-RoBERTa-large's layers over MiniLM's vocabulary, whose tokenizer can then be used; how large
the table of embeddings is has no part in the time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Two versions, and the cuts between them."""

    title: str
    cheap: str
    strong: str
    keeps: Sequence[int]
    has_quality: bool
    """Whether the strong version's ranking means anything."""

    @property
    def cascades(self) -> Mapping[int, str]:
        """Return the cascade of each cut, by name."""
        return {keep: f"{self.strong}-keep-{keep}" for keep in self.keeps}

    @property
    def versions(self) -> list[str]:
        """Return all that are asked, the strong one first."""
        return [self.strong, *self.cascades.values(), self.cheap]

    def config(self) -> dict[str, object]:
        """Return the config of a server with all of them."""
        versions: dict[str, object] = {self.cheap: {}, self.strong: {"start_timeout_s": _START_S}}
        for keep, name in self.cascades.items():
            stages = [{"version": self.cheap, "keep": keep}, {"version": self.strong}]
            versions[name] = {"cascade": stages, "fallback": "none"}
        server = {"port": 0, "request_timeout_s": 600, "drain_timeout_s": 600}
        return {"default_version": self.strong, "versions": versions, "server": server}


LARGE = Plan(
    "A strong version many times dearer: XLM-R-large's size (random weights) behind MiniLM-L12",
    "v2-minilm",
    _LARGE,
    (5, 10, 20),
    has_quality=False,
)
SMALL = Plan(
    "Two of one size: MiniLM-L12 behind bge-small-en-v1.5",
    "v1-bge-small",
    "v2-minilm",
    (10, 15, 20, 30),
    has_quality=True,
)


@dataclass(slots=True)
class Answers:
    """What one version answered: seconds turn by turn, raw scores query by query."""

    seconds: list[float] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)


def build_large(models: Path, directory: Path) -> None:
    """Make the version with random weights, in a process whose memory then goes away."""
    small = models / "v2-minilm"
    directory.mkdir()
    command = [sys.executable, "-c", _BUILD, str(small / "model"), str(directory / "model")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.copytree(small / "tokenizer", directory / "tokenizer")
    shutil.copyfile(small / "rerank.py", directory / "rerank.py")


@contextmanager
def served(plan: Plan, models: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Run a server with the versions of a plan; gives its address, and each one's engine."""
    root = Path(tempfile.mkdtemp(prefix="rrs-bench-", dir="/tmp"))
    for name in (plan.cheap, plan.strong):
        if name == _LARGE:
            build_large(models, root / name)
        else:
            (root / name).symlink_to(models / name)
    (root / "config.yaml").write_text(yaml.safe_dump(plan.config(), sort_keys=False))
    command = [sys.executable, "-m", "rerank_server", "start", "--foreground"]
    command += ["--config", str(root / "config.yaml")]
    command += ["--run-dir", str(root / "run"), "--state-dir", str(root / "state")]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield _ready(root / "run" / "state.json", process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(root)


def _ready(state: Path, process: subprocess.Popen[bytes]) -> tuple[str, Mapping[str, str]]:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        found = json.loads(state.read_text()) if state.exists() else {"versions": []}
        states = [version["state"] for version in found["versions"]]
        if states and set(states) == {found["gateway"]["state"], "RUNNING"}:
            engines = {v["name"]: v["info"].get("engine", "") for v in found["versions"]}
            return found["server"]["url"], engines
        time.sleep(0.05)
    raise SystemExit("the server did not start")


def race(url: str, plan: Plan, rankings: Sequence[Ranking], rounds: int) -> Mapping[str, Answers]:
    """Ask every version every query, in turns."""
    found = {name: Answers() for name in plan.versions}
    with httpx.Client(base_url=url, timeout=600.0, trust_env=False) as client:
        for name in plan.versions:  # warm up
            _ask(client, name, Ranking(rankings[0].query, rankings[0].docs[:12], ()))
        for number in range(rounds):
            for turn, ranking in enumerate(rankings):
                first = turn % len(plan.versions)
                for name in plan.versions[first:] + plan.versions[:first]:
                    seconds, scores = _ask(client, name, ranking)
                    found[name].seconds.append(seconds)
                    if number == 0:
                        found[name].scores.append(scores)
                print(f"{plan.strong}: round {number + 1}, query {turn + 1}", file=sys.stderr)
    return found


def _ask(client: httpx.Client, version: str, ranking: Ranking) -> tuple[float, list[float]]:
    body = {"query": ranking.query, "docs": list(ranking.docs), "raw_scores": True}
    began = time.perf_counter()
    answer = client.post(f"/rerank/{version}", json=body)
    seconds = time.perf_counter() - began
    said = answer.raise_for_status().json()
    if said["version"] != version:
        raise SystemExit(f"{version} did not answer, {said['version']} did")
    return seconds, [float(score) for score in said["scores"]]


def report(
    plan: Plan,
    found: Mapping[str, Answers],
    rankings: Sequence[Ranking],
    engines: Mapping[str, str],
) -> str:
    """Return a Markdown table: the strong version alone, each cut, the cheap version alone."""
    docs = len(rankings[0].docs)
    base = found[plan.strong]
    heads = ["version", "docs/s", "times the strong one's [min-max]"]
    if plan.has_quality:
        heads += ["top-10 overlap with it", "nDCG@10"]
    rows = [heads, ["---"] * len(heads)]
    labels = {name: f"keep {keep}" for keep, name in plan.cascades.items()}
    for name in plan.versions:
        one = found[name]
        ratios = sorted(b / a for a, b in zip(one.seconds, base.seconds, strict=True))
        row = [labels.get(name, f"{name} alone"), f"{docs / statistics.median(one.seconds):.1f}"]
        row.append(f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}-{ratios[-1]:.2f}]")
        if plan.has_quality:
            row += _quality(base, one, rankings)
        rows.append(row)
    said = ", ".join(f"{name}: {engine}" for name, engine in engines.items() if engine)
    under = (
        f"{len(rankings)} queries of {docs} documents, asked one after the other over HTTP, "
        f"{len(base.seconds)} turns ({said})."
    )
    if not plan.has_quality:
        under += " The strong version's weights are random: speed only, its ranking means nothing."
    return "\n".join(
        [f"### {plan.title}", "", *(f"| {' | '.join(row)} |" for row in rows), "", under]
    )


def _quality(base: Answers, one: Answers, rankings: Sequence[Ranking]) -> list[str]:
    first, second = ([np.array(s, dtype=np.float32) for s in a.scores] for a in (base, one))
    quality = compare(first, second, [ranking.relevant for ranking in rankings])
    return [f"{quality.top_overlap:.3f}", f"{quality.ndcg or 0:.4f}"]


def measure(plan: Plan, models: Path, rankings: Sequence[Ranking], rounds: int) -> str:
    """Run a server for a plan, race its versions, and return the table."""
    with served(plan, models) as (url, engines):
        return report(plan, race(url, plan, rankings, rounds), rankings, engines)


def main() -> None:
    """Measure both pairs and print their tables."""
    parser = argparse.ArgumentParser(description="Measure cascades against the strong version.")
    parser.add_argument("--pairs", type=Path, help="default: built from Debian's index")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--large-queries", type=int, default=2)
    parser.add_argument("--queries", type=int, default=40)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rrs-bench-") as directory:
        pairs = told.pairs or Path(directory) / "pairs.jsonl.gz"
        if told.pairs is None:
            debian_pairs.write(pairs, queries=60, docs=50, packages=12_000)
        rankings = debian_pairs.read(pairs)
    print(machine.describe(), "\n")
    print(measure(LARGE, told.models, rankings[: told.large_queries], _LARGE_ROUNDS), "\n")
    print(measure(SMALL, told.models, rankings[: told.queries], _SMALL_ROUNDS))


if __name__ == "__main__":
    main()
