"""The whole server against Infinity, against the bare engine, and with one request a batch.

Everything runs at the same time, idle but for the one whose turn it is; the rounds go A B C A B C,
ratios are taken within a round, and medians over the rounds.

    python -m benchmarks.server --infinity-python /other/venv/bin/python [--pairs FILE]
    python -m benchmarks.server --part small      # needs no Infinity
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import clients, debian_pairs, engine, fleet, machine
from benchmarks.clients import Load
from benchmarks.debian_pairs import Ranking
from benchmarks.engine_child import TORCH_BF16, TORCH_FP32, rows
from benchmarks.figures import Figure, remember, table
from benchmarks.fleet import Variant
from rerank_workers.engines.files import read_model_files
from rerank_workers.families.tokenizer import load_tokenizer

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / ".bench" / "results.json"
INFINITY = "Infinity fp32"
_CLIENTS, _DOCS = 8, 50
_SMALL_CLIENTS, _SMALL_DOCS, _SMALL_TOKENS = 16, 5, 32
_CALIBRATION = 10


@dataclass(slots=True)
class Contender:
    """Somebody who scores the same documents, and the loads it carried."""

    name: str
    run: Callable[[], Load]
    loads: list[Load] = field(default_factory=list)
    engine: str = ""

    @property
    def docs_s(self) -> list[float]:
        """Return the documents a second, round by round."""
        return [load.docs_s for load in self.loads]


def variants(graphs: Path) -> list[Variant]:
    """Return what our server runs: fp32, bf16 with torch, and what `optimize` writes."""
    return [
        Variant("v1-fp32", "ours, fp32", use_fp16=False),
        Variant("v1-bf16", "ours, torch bf16"),
        Variant("v1-ov-bf16", "ours, OpenVINO bf16", graphs / "bfloat16"),
        Variant("v1-dynamic", "ours, OpenVINO int8 dynamic", graphs / "int8 dynamic"),
        Variant("v1-static", "ours, OpenVINO int8 static", graphs / "int8 static"),
    ]


def bodies(rankings: Sequence[Ranking]) -> list[bytes]:
    """Return requests in our native form."""
    return [
        json.dumps({"query": r.query, "docs": r.docs, "raw_scores": True}).encode()
        for r in rankings
    ]


def infinity_bodies(rankings: Sequence[Ranking]) -> list[bytes]:
    """Return the same requests in Infinity's form."""
    return [
        json.dumps({"query": r.query, "documents": r.docs, "raw_scores": True}).encode()
        for r in rankings
    ]


def short_pairs(version: Path, rankings: Sequence[Ranking]) -> list[Ranking]:
    """Cut documents so that each pair has at most `_SMALL_TOKENS` tokens, five a request."""
    tokenizer = load_tokenizer(version / "tokenizer", read_model_files(version / "model"))

    def fits(query: str, doc: str) -> bool:
        (row,) = rows(tokenizer.ids([query, doc]), tokenizer.pair)
        return len(row) <= _SMALL_TOKENS

    found = []
    for ranking in rankings:
        query = " ".join(ranking.query.split()[:5])
        docs = []
        for doc in ranking.docs:
            words = doc.split()[:20]
            while len(words) > 1 and not fits(query, " ".join(words)):
                words.pop()
            docs.append(" ".join(words))
        found += [
            Ranking(query, tuple(docs[at : at + _SMALL_DOCS]), ())
            for at in range(0, len(docs), _SMALL_DOCS)
        ]
    return found


def race(contenders: Sequence[Contender], rounds: int) -> None:
    """Run everybody in turns, after a round that is not counted."""
    for number in range(rounds + 1):
        for one in contenders:
            load = one.run()
            if load.failures:
                raise SystemExit(f"{one.name}: {load.failures} requests failed")
            if number:
                one.loads.append(load)
            print(f"round {number}: {one.name}: {load.docs_s:.1f} docs/s", file=sys.stderr)


def report(contenders: Sequence[Contender], base: Contender) -> str:
    """Return the race as a Markdown table, with ratios against one of the contenders."""
    lines = [
        f"| what | engine | docs/s [min-max] | against {base.name} | p50 s | p95 s |",
        "|---|---|---|---|---|---|",
    ]
    for one in contenders:
        speeds = sorted(one.docs_s)
        p50 = statistics.median(load.p50 for load in one.loads) if one.loads[0].latencies else 0
        p95 = statistics.median(load.latency(0.95) for load in one.loads) if p50 else 0
        times = f"{p50:.2f} | {p95:.2f}" if p50 else "- | -"
        lines.append(
            f"| {one.name} | {one.engine} | {statistics.median(speeds):.1f} "
            f"[{speeds[0]:.1f}-{speeds[-1]:.1f}] | {ratio(one, base):.2f} | {times} |"
        )
    return "\n".join(lines)


def ratio(one: Contender, base: Contender) -> float:
    """Return the median over the rounds of one's documents a second over the other's."""
    return statistics.median(a / b for a, b in zip(one.docs_s, base.docs_s, strict=True))


def large_requests(told: argparse.Namespace, rankings: Sequence[Ranking], graphs: Path) -> str:
    """Race whole servers and bare engines with 8 clients of 50 documents each."""
    judged = rankings[: told.requests]
    docs = sum(len(r.docs) for r in judged)
    found = variants(graphs)
    with ExitStack() as stack:
        texts = engine.write_texts(judged, graphs / "texts.json")
        work = engine.Work(told.version, judged, told.threads, [])
        ours = stack.enter_context(fleet.ours(told.version, found))
        contenders = [
            Contender(
                v.label, _asks(ours.port, v.path, bodies(judged), docs, _CLIENTS),
                engine=ours.engines[v.name],
            )
            for v in found
        ]  # fmt: skip
        bare = [
            _bare(
                stack.enter_context(engine.contestant(name, sys.executable, work, folder, texts)),
                docs,
            )
            for name, folder in _engines(graphs).items()
        ]
        peers = []
        if told.infinity_python is not None:
            port = stack.enter_context(fleet.infinity(told.infinity_python, told.version))
            asks = _asks(port, "/rerank", infinity_bodies(judged), docs, _CLIENTS)
            peers = [Contender(INFINITY, asks, engine="torch 2.13.0, float32")]
        race([*peers, *contenders, *bare], told.rounds)
    figures = _against_bare(contenders, bare)
    text = report([*peers, *contenders, *bare], peers[0] if peers else contenders[0])
    if peers:
        figures = [*_against_infinity(contenders, peers[0]), *figures]
        text += f"\n\n{_agreement(contenders[0], peers[0])}"
    remember("server", figures, RESULTS)
    return f"{text}\n\n{table(figures)}"


def small_requests(told: argparse.Namespace, rankings: Sequence[Ranking], graphs: Path) -> str:
    """Race a server against itself with one request a batch: 16 clients of 5 short documents."""
    short = short_pairs(told.version, rankings[: told.requests])
    docs = sum(len(r.docs) for r in short)
    together = [v for v in variants(graphs) if v.name in ("v1-fp32", "v1-bf16", "v1-ov-bf16",
                                                          "v1-dynamic")]  # fmt: skip
    alone = [
        Variant(f"{v.name}-alone", f"{v.label}, one request a batch", v.graph, v.use_fp16, True)
        for v in together
    ]
    with fleet.ours(told.version, [*together, *alone]) as ours:
        contenders = [
            Contender(
                v.label, _asks(ours.port, v.path, bodies(short), docs, _SMALL_CLIENTS),
                engine=ours.engines[v.name],
            )
            for pair in zip(together, alone, strict=True) for v in pair
        ]  # fmt: skip
        race(contenders, told.rounds)
    figures = [
        Figure(f"16 x 5 short documents, batches shared or not: {a.name}", ratio(a, b), 1.5)
        for a, b in zip(contenders[::2], contenders[1::2], strict=True)
    ]
    remember("small", figures, RESULTS)
    return f"{report(contenders, contenders[1])}\n\n{table(figures)}"


def _engines(graphs: Path) -> Mapping[str, Path]:
    """Name the engines in the order of `variants`."""
    return {
        TORCH_FP32: graphs,
        TORCH_BF16: graphs,
        "OpenVINO bfloat16": graphs / "bfloat16",
        "OpenVINO int8 dynamic": graphs / "int8 dynamic",
        "OpenVINO int8 static": graphs / "int8 static",
    }


def _bare(child: engine.Contestant, docs: int) -> Contender:
    """Give an engine that has all documents at once, as token ids, in a process of its own."""

    def run() -> Load:
        seconds, _ = child.run()
        return Load(docs, seconds, (), 0, ())

    return Contender(f"bare {child.name}", run)


def _asks(port: int, path: str, texts: Sequence[bytes], docs: int, most: int) -> Callable[[], Load]:
    return lambda: clients.ask_all(port, path, texts, docs, most)


def _against_bare(ours: Sequence[Contender], bare: Sequence[Contender]) -> list[Figure]:
    return [
        Figure(f"server against bare engine, 8 x 50: {one.name}", ratio(one, other), 0.92)
        for one, other in zip(ours, bare, strict=True)
    ]


def _against_infinity(ours: Sequence[Contender], infinity: Contender) -> list[Figure]:
    exact = ours[0]
    fastest = max(ours, key=lambda one: statistics.median(one.docs_s))

    def sooner(one: Contender) -> float:
        pairs = zip(infinity.loads, one.loads, strict=True)
        return statistics.median(a.p50 / b.p50 for a, b in pairs)

    return [
        Figure("docs/s of Infinity, same fp32 weights: ours, fp32", ratio(exact, infinity), 1.8),
        Figure(f"docs/s of Infinity: the fastest ({fastest.name})", ratio(fastest, infinity), 6.0),
        Figure("p50 of Infinity over ours, fp32", sooner(exact), 1.8),
        Figure(f"p50 of Infinity over ours, the fastest ({fastest.name})", sooner(fastest), 6.0),
    ]


def _agreement(ours: Contender, infinity: Contender) -> str:
    """Say how far both servers' fp32 logits differ: the same weights, or not."""
    first, second = (_logits(each.loads[-1].answers) for each in (ours, infinity))
    moved = max(
        abs(a - b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True)
    )
    return f"Both servers' fp32 logits differ by at most {moved:.1e}."


def _logits(answers: Sequence[Mapping[str, object]]) -> list[list[float]]:
    found = []
    for answer in answers:
        results = answer["results"]
        assert isinstance(results, list)
        scores = {r["index"]: float(r.get("relevance_score", r.get("score"))) for r in results}
        found.append([scores[index] for index in range(len(scores))])
    return found


_PARTS = {"server": large_requests, "small": small_requests}


def main() -> None:
    parser = argparse.ArgumentParser(description="Race whole servers on the same documents.")
    parser.add_argument("--part", choices=_PARTS, nargs="*", default=list(_PARTS))
    parser.add_argument("--version", type=Path, default=ROOT / "models" / "v2-minilm")
    parser.add_argument("--infinity-python", type=Path, help="one that has Infinity")
    parser.add_argument("--pairs", type=Path, help="default: built from Debian's index")
    parser.add_argument("--requests", type=int, default=16, help="of 50 documents, in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rrs-bench-") as directory:
        graphs = Path(directory)
        rankings = debian_pairs.read(debian_pairs.found(told.pairs))
        work = engine.Work(told.version, (), told.threads, ())
        engine.write_graphs(work, rankings[-_CALIBRATION:], graphs)
        print(machine.describe())
        for part in told.part:
            print(f"\n### {part}\n\n{_PARTS[part](told, rankings, graphs)}", flush=True)


if __name__ == "__main__":
    main()
