"""A model of XLM-RoBERTa-large's size with random weights: speed, memory, what `optimize` takes.

560 million parameters, 20 documents of 256 tokens. Random weights rank nothing, so quality is not
judged here. Needs 8 GB of disk below the temporary directory, and 16 GB of memory.

    python -m benchmarks.large [--rounds 3] [--part race optimize]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks import debian_pairs, engine, machine
from benchmarks.debian_pairs import Ranking
from benchmarks.engine import Contestant, Work
from benchmarks.engine_child import TORCH_BF16, TORCH_FP32
from benchmarks.figures import Figure, remember, table
from benchmarks.server import RESULTS, ROOT

_CONFIG = {
    "architectures": ["XLMRobertaForSequenceClassification"], "model_type": "xlm-roberta",
    "vocab_size": 250_002, "hidden_size": 1024, "num_hidden_layers": 24,
    "num_attention_heads": 16, "intermediate_size": 4096, "hidden_act": "gelu",
    "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
    "pad_token_id": 1, "num_labels": 1, "id2label": {"0": "LABEL_0"},
}  # fmt: skip
_DOCS, _TOKENS = 20, 256
_CALIBRATION_TOKENS = 64
_MAKE = """
import json, sys, torch, transformers
from pathlib import Path
torch.manual_seed(1)
place = Path(sys.argv[1])
config = transformers.AutoConfig.for_model(**json.loads(sys.argv[2]))
model = transformers.AutoModelForSequenceClassification.from_config(config)
model.save_pretrained(place)
"""
_BF16, _DYNAMIC, _STATIC = "OpenVINO bfloat16", "OpenVINO int8 dynamic", "OpenVINO int8 static"
_BOUNDS = (
    ("half precision", (TORCH_BF16, _BF16), 2.4),
    ("int8", (_DYNAMIC, _STATIC), 4.0),
)


def make(place: Path, small: Path) -> None:
    """Write the version: random weights, and a small model's tokenizer, whose ids all exist."""
    (place / "model").mkdir(parents=True)
    command = [sys.executable, "-c", _MAKE, str(place / "model"), json.dumps(_CONFIG)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (place / "tokenizer").symlink_to((small / "tokenizer").resolve())


def long_texts(rankings: list[Ranking], docs: int) -> list[Ranking]:
    """Join documents until each is longer than any pair may be."""
    words = " ".join(doc for ranking in rankings for doc in ranking.docs).split()
    each = 2 * _TOKENS
    found = [" ".join(words[at * each : (at + 1) * each]) for at in range(docs)]
    return [Ranking(rankings[0].query, tuple(found), ())]


def race(version: Path, scratch: Path, rankings: list[Ranking], told: argparse.Namespace) -> str:
    """Let the engines score the same documents in turns; weigh each afterwards."""
    judged = long_texts(rankings, _DOCS)
    texts = engine.write_texts(judged, scratch / "texts.json")
    work = Work(version, judged, told.threads, [_TOKENS] * _DOCS)
    engine.write_graphs(
        work, long_texts(rankings[::-1], 24), scratch, max_length=_CALIBRATION_TOKENS
    )
    names = {
        TORCH_FP32: scratch,
        TORCH_BF16: scratch,
        _BF16: scratch / "bfloat16",
        _DYNAMIC: scratch / "int8 dynamic",
        _STATIC: scratch / "int8 static",
    }
    memory: dict[str, int] = {}
    with ExitStack() as stack:
        field = [
            stack.enter_context(
                engine.contestant(name, sys.executable, work, folder, texts, max_length=_TOKENS)
            )
            for name, folder in names.items()
        ]
        for _ in range(told.rounds):
            for one in field:
                seconds, _ = one.run()
                one.seconds.append(seconds)
                print(f"{one.name}: {seconds:.2f} s", file=sys.stderr)
        for one in field:
            memory[one.name] = psutil.Process(one.child.pid).memory_info().rss
    found = figures(field, memory)
    remember("large", found, RESULTS)
    return f"{report(field, memory)}\n\n{table(found)}"


def ratio(one: Contestant, base: Contestant) -> float:
    """Return the median over the rounds of the base's seconds over one's."""
    return statistics.median(b / a for a, b in zip(one.seconds, base.seconds, strict=True))


def figures(field: list[Contestant], memory: Mapping[str, int]) -> list[Figure]:
    """Hold the best of each precision to its bound."""
    by_name = {one.name: one for one in field}
    base = by_name[TORCH_FP32]
    found = []
    for what, names, bound in _BOUNDS:
        best = max(names, key=lambda name: ratio(by_name[name], base))
        label = f"560 M parameters, {what} ({best}), against torch fp32"
        found.append(Figure(label, ratio(by_name[best], base), bound))
    for name in (_DYNAMIC, _STATIC):
        label = f"560 M parameters, resident: {name}"
        found.append(Figure(label, memory[name] / 1e6, 1500, at_most=True, unit="MB"))
    return found


def report(field: list[Contestant], memory: Mapping[str, int]) -> str:
    """Return the race as a Markdown table."""
    base = field[0]
    lines = ["| engine | docs/s [min-max] | against torch fp32 | RSS, MB |", "|---|---|---|---|"]
    for one in field:
        speeds = sorted(_DOCS / seconds for seconds in one.seconds)
        lines.append(
            f"| {one.name} | {statistics.median(speeds):.2f} [{speeds[0]:.2f}-{speeds[-1]:.2f}] "
            f"| {ratio(one, base):.2f} | {memory[one.name] / 1e6:.0f} |"
        )
    return "\n".join(lines)


def optimize(version: Path, scratch: Path, rankings: list[Ranking], _: argparse.Namespace) -> str:
    """Run `optimize` as the command does, once for each int8 variant, and weigh its peak."""
    texts = scratch / "requests.jsonl"
    lines = [{"query": r.query, "docs": [d[:300] for d in r.docs[:8]]} for r in rankings[:4]]
    texts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = []
    for kind in ("int8-dynamic", "int8-static"):
        command = [sys.executable, "-m", "rerank_workers.optimize", str(version)]
        command += ["--texts", str(texts), "--variant", kind, "--max-length", "64"]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        # The largest of all children so far: dynamic first, static then is at least as much.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        label = f"560 M parameters, peak of `optimize`: {kind}"
        found.append(Figure(label, peak / 1e6, 12_000, at_most=True, unit="MB"))
    remember("optimize", found, RESULTS)
    return table(found)


_PARTS = {"optimize": optimize, "race": race}


def main() -> None:
    parser = argparse.ArgumentParser(description="Race engines on a large random model.")
    parser.add_argument("--part", choices=_PARTS, nargs="*", default=list(_PARTS))
    parser.add_argument("--small", type=Path, default=ROOT / "models" / "v2-minilm")
    parser.add_argument("--pairs", type=Path, help="default: built from Debian's index")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rrs-bench-") as directory:
        scratch = Path(directory)
        rankings = debian_pairs.read(debian_pairs.found(told.pairs))
        version = scratch / "v1-large"
        print(machine.describe())
        make(version, told.small)
        for part, run in _PARTS.items():
            if part in told.part:
                print(f"\n### {part}\n\n{run(version, scratch, rankings, told)}", flush=True)


if __name__ == "__main__":
    main()
