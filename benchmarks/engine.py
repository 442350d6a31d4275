"""How fast each engine scores the same pairs, and how close to fp32: an interleaved race.

Every contestant is a process of its own that waits until it is told to run. The rounds go
A B C A B C, with a plain bf16 matrix product before and after each run: a machine shared with
others has slow phases, and only what is measured beside each other may be compared. `ratio` is the
median over the rounds of the docs/s against sentence-transformers' in the same round; `share` is
the model's nominal arithmetic against the product's. Quality is against torch fp32.

    python -m benchmarks.engine [--pairs FILE] [--queries 6] [--rounds 3] [--only PART ...]
    python -m benchmarks.engine --reference-python /other/venv/bin/python   # sentence-transformers
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import debian_pairs, machine
from benchmarks.debian_pairs import Ranking
from benchmarks.engine_child import (
    GEMM,
    ONE_BY_ONE,
    ONNX_INT8,
    SENTENCE_TRANSFORMERS,
    TORCH_BF16,
    TORCH_FP32,
)
from benchmarks.llm_child import TRANSFORMERS
from rerank_workers.environment import prepare
from rerank_workers.optimize.quality import Quality, compare

ROOT = Path(__file__).parent.parent
_VARIANTS = {"bfloat16": "bf16", "int8 dynamic": "int8 dynamic", "int8 static": "int8 static"}
_CALIBRATION = 10  # queries from the file's end, never judged


@dataclass(slots=True)
class Contestant:
    """A child and what it has done."""

    name: str
    child: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)
    gemm: list[float] = field(default_factory=list)
    """GFLOP/s beside each run."""
    scores: list[float] = field(default_factory=list)

    def run(self) -> tuple[float, list[float]]:
        """Let the child run once."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write("go\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        return float(answer["seconds"]), [float(value) for value in answer["values"]]


@dataclass(frozen=True, slots=True)
class Work:
    """What every contestant is given."""

    version: Path
    judged: Sequence[Ranking]
    threads: int
    lengths: Sequence[int]
    """Tokens of each pair."""

    @property
    def gigaflop(self) -> float:
        """Nominal arithmetic: every token through every layer, without padding."""
        config = json.loads((self.version / "model" / "config.json").read_text())
        width, wide = config["hidden_size"], config["intermediate_size"]
        linear = 2 * (4 * width * width + 2 * width * wide)
        each = (length * (linear + 4 * length * width) for length in self.lengths)
        return float(config["num_hidden_layers"] * sum(each) / 1e9)


@contextmanager
def contestant(
    name: str, python: str, work: Work, folder: Path, texts: Path, *, max_length: int = 512
) -> Iterator[Contestant]:
    """Start a child and wait until it is warm."""
    command = [python, "-m", "benchmarks.engine_child", "--name", name]
    command += ["--version", str(work.version), "--folder", str(folder), "--texts", str(texts)]
    command += ["--threads", str(work.threads), "--max-length", str(max_length)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "workers")])
    environment = {**os.environ, "OMP_NUM_THREADS": str(work.threads), "PYTHONPATH": paths}
    if name not in (SENTENCE_TRANSFORMERS, TRANSFORMERS):
        prepare(environment, work.threads, work.threads)  # as a worker does; the others as they are
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        assert child.stdout is not None
        try:
            if child.stdout.readline().strip() != "ready":
                errors.seek(0)
                raise SystemExit(f"{name}: {errors.read()}")
            yield Contestant(name, child)
        finally:
            child.kill()
            child.wait()


def write_graphs(
    work: Work, calibration: Sequence[Ranking], scratch: Path, *, max_length: int = 512
) -> None:
    """Write the OpenVINO variants, in a process whose memory then goes away.

    `max_length` bounds the tokens of a pair that calibrates.
    """
    program = (
        "import json, pathlib, sys\n"
        "from rerank_workers.engines.bert_weights import arrange\n"
        "from rerank_workers.engines.engine import Output\n"
        "from rerank_workers.engines.files import read_model_files\n"
        "from rerank_workers.engines.torch_weights import read_weights\n"
        "from rerank_workers.families import cross_encoder\n"
        "from rerank_workers.optimize import variants\n"
        "from rerank_workers.scorer import Context\n"
        "version, scratch, texts = map(pathlib.Path, sys.argv[1:])\n"
        "files = read_model_files(version / 'model')\n"
        "weights = arrange(files, read_weights(files), Output.LOGIT)\n"
        f"encoder = cross_encoder.load(Context('v', version, max_length={max_length}))\n"
        "rows = [pair.row for query, docs in json.loads(texts.read_text())\n"
        "        for pair in encoder.encode(query, docs)[::3]]\n"
        f"for kind in {list(_VARIANTS)}:\n"
        "    folder = scratch / kind\n"
        "    folder.mkdir()\n"
        "    pad_id = files.pad_token_id or 0\n"
        "    variants.write(kind, weights, rows, pad_id, folder / 'openvino.xml')\n"
    )
    texts = write_texts(calibration, scratch / "calibration.json")
    command = [sys.executable, "-c", program, str(work.version), str(scratch), str(texts)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def write_texts(rankings: Sequence[Ranking], path: Path) -> Path:
    """Write queries and documents for the children."""
    path.write_text(json.dumps([[r.query, r.docs] for r in rankings]), encoding="utf-8")
    return path


def race(
    names: Mapping[str, tuple[str, Path]], work: Work, rounds: int, texts: Path
) -> list[Contestant]:
    """Run all contestants in turns, a matrix product beside each run."""
    with ExitStack() as stack:
        yardstick = stack.enter_context(
            contestant(f"{GEMM} bfloat16", sys.executable, work, texts.parent, texts)
        )
        field_ = [
            stack.enter_context(contestant(name, python, work, folder, texts))
            for name, (python, folder) in names.items()
        ]
        for number in range(rounds):
            for one in field_:
                before = yardstick.run()[1][0]
                seconds, one.scores = one.run()
                one.seconds.append(seconds)
                one.gemm.append((before + yardstick.run()[1][0]) / 2)
                print(f"round {number + 1}: {one.name}: {seconds:.2f} s", file=sys.stderr)
    return field_


def quality(one: Contestant, exact: Contestant, work: Work) -> Quality:
    """Compare a contestant's scores with fp32's, query by query."""
    borders = np.cumsum([len(ranking.docs) for ranking in work.judged])[:-1]
    first, second = (
        np.split(np.array(scores, dtype=np.float32), borders)
        for scores in (exact.scores, one.scores)
    )
    return compare(first, second, [ranking.relevant for ranking in work.judged])


def report(field_: Sequence[Contestant], work: Work) -> str:
    """Return the race as a Markdown table, fastest first."""
    by_name = {one.name: one for one in field_}
    base, exact = by_name.get(SENTENCE_TRANSFORMERS), by_name[TORCH_FP32]
    lines = [
        "| engine | docs/s [min-max] | tokens/s | ratio | share | Spearman | top-10 overlap "
        "| max deviation | nDCG@10 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in sorted(field_, key=lambda one: statistics.median(one.seconds)):
        speeds = sorted(len(work.lengths) / seconds for seconds in one.seconds)
        ratios = (
            [] if base is None else [b / a for a, b in zip(one.seconds, base.seconds, strict=True)]
        )
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        shares = [work.gigaflop / s / g for s, g in zip(one.seconds, one.gemm, strict=True)]
        found = quality(one, exact, work)
        lines.append(
            f"| {one.name} | {statistics.median(speeds):.1f} [{speeds[0]:.1f}-{speeds[-1]:.1f}] "
            f"| {statistics.median(speeds) * sum(work.lengths) / len(work.lengths):.0f} "
            f"| {ratio} | {statistics.median(shares):.2f} | {found.spearman:.4f} "
            f"| {found.top_overlap:.3f} | {found.max_deviation:.3f} | {found.ndcg or 0:.4f} |"
        )
    gemm = statistics.median(value for one in field_ for value in one.gemm)
    pairs, tokens = len(work.lengths), sum(work.lengths)
    lines += [
        "",
        f"{pairs} pairs, {tokens} tokens, {work.threads} threads, {len(exact.seconds)} rounds; "
        f"bf16 product beside the runs: {gemm:.0f} GFLOP/s.",
    ]
    return "\n".join(lines)


def token_counts(version: Path, rankings: Sequence[Ranking]) -> list[int]:
    """Count the tokens of every pair."""
    from benchmarks.engine_child import rows
    from rerank_workers.engines.files import read_model_files
    from rerank_workers.families.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(version / "tokenizer", read_model_files(version / "model"))
    found = (rows(tokenizer.ids([r.query, *r.docs]), tokenizer.pair) for r in rankings)
    return [len(row) for request in found for row in request]


def names(arguments: argparse.Namespace, work: Work, scratch: Path) -> dict[str, tuple[str, Path]]:
    """Name the contestants, each with its interpreter and folder."""
    here = sys.executable
    found = {
        SENTENCE_TRANSFORMERS: (arguments.reference_python, scratch),
        TORCH_FP32: (here, scratch),
        TORCH_BF16: (here, scratch),
        **{f"OpenVINO {told}": (here, scratch / kind) for kind, told in _VARIANTS.items()},
        f"OpenVINO int8 static{ONE_BY_ONE}": (here, scratch / "int8 static"),
        f"{TORCH_BF16}{ONE_BY_ONE}": (here, scratch),
        ONNX_INT8: (here, scratch),
    }
    if not (work.version / "model_cpu" / "model.onnx").is_file():
        del found[ONNX_INT8]
    only = arguments.only
    return {
        n: v for n, v in found.items() if n == TORCH_FP32 or not only or any(o in n for o in only)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Race the engines on the same pairs.")
    parser.add_argument("--version", type=Path, default=ROOT / "models" / "v2-minilm")
    parser.add_argument("--pairs", type=Path, help="default: built from Debian's index")
    parser.add_argument("--queries", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--reference-python", default=sys.executable)
    parser.add_argument("--only", nargs="*", help="contestants whose name contains one of these")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rrs-bench-") as directory:
        scratch = Path(directory)
        pairs = told.pairs or scratch / "pairs.jsonl.gz"
        if told.pairs is None:
            debian_pairs.write(pairs, queries=60, docs=50, packages=12_000)
        rankings = debian_pairs.read(pairs)
        judged = rankings[: told.queries]
        work = Work(told.version, judged, told.threads, token_counts(told.version, judged))
        texts = write_texts(judged, scratch / "texts.json")
        contestants = names(told, work, scratch)
        if any(name.startswith("OpenVINO") for name in contestants):
            write_graphs(work, rankings[-_CALIBRATION:], scratch)
        field_ = race(contestants, work, told.rounds, texts)
        print(machine.describe(), "\n")
        print(report(field_, work))


if __name__ == "__main__":
    main()
