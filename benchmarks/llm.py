"""An LLM reranker on a CPU: our engine in bf16 and fp32 against transformers' forward in fp32.

The layers are those of Qwen3-Reranker-0.6B with random weights (0.45 billion parameters, as the
vocabulary is small): what is measured is speed, and that the scores are the same. Random weights
rank nothing, so there is no figure of quality here. Needs 8 GB of memory and 1 GB of disk.

    python -m benchmarks.llm [--rounds 3] [--pairs FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmarks import debian_pairs, engine, machine
from benchmarks.debian_pairs import Ranking
from benchmarks.engine import Contestant, Work
from benchmarks.llm_child import MAX_LENGTH, NAMES, OURS_BF16, OURS_FP32, TRANSFORMERS
from rerank_workers.engines.choice import processor

_VOCABULARY = 8192
_CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": _VOCABULARY,
    "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072, "hidden_act": "silu",
    "max_position_embeddings": 4096, "rope_theta": 1_000_000.0, "tie_word_embeddings": True,
    "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_QUERIES, _DOCS = 2, 6
_TOLERANCE = {OURS_FP32: 1e-4, OURS_BF16: 0.05}
"""Most that a logit may differ from the peer's."""
_MAKE = """
import json, sys, torch, transformers
torch.manual_seed(1)
config = transformers.AutoConfig.for_model(**json.loads(sys.argv[2]))
model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
model.save_pretrained(sys.argv[1])
print(sum(tensor.numel() for tensor in model.parameters()))
"""


def make(place: Path, texts: Sequence[str]) -> int:
    """Write a version with a tokenizer learnt from the texts; return its parameters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[AddedToken(text, special=True) for text in _SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    (place / "tokenizer").mkdir(parents=True)
    tokenizer.save(str(place / "tokenizer" / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": _SPECIAL[0]}
    (place / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings))
    # The published model is stored in bf16 too: fp32 then computes with the same values.
    command = [sys.executable, "-c", _MAKE, str(place / "model"), json.dumps(_CONFIG)]
    made = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    return int(made.stdout.split()[-1])


def race(version: Path, scratch: Path, judged: list[Ranking], told: argparse.Namespace) -> str:
    """Let the engines score the same documents in turns."""
    texts = engine.write_texts(judged, scratch / "texts.json")
    work = Work(version, judged, told.threads, [])
    names = [name for name in NAMES if name != OURS_BF16 or processor().has_half]
    memory: dict[str, int] = {}
    with ExitStack() as stack:
        field = [
            stack.enter_context(
                engine.contestant(name, sys.executable, work, scratch, texts, max_length=MAX_LENGTH)
            )
            for name in names
        ]
        for _ in range(told.rounds):
            for one in field:
                seconds, one.scores = one.run()
                one.seconds.append(seconds)
                print(f"{one.name}: {seconds:.2f} s", file=sys.stderr)
        for one in field:
            memory[one.name] = psutil.Process(one.child.pid).memory_info().rss
    lines = [_row(one, field, memory[one.name]) for one in field]
    if OURS_BF16 not in names:
        lines.append(f"\nThis CPU does not multiply bf16, so there is no {OURS_BF16}.")
    heading = (
        "| engine | docs/s [min-max] | against transformers fp32 [min-max] "
        "| against ours, fp32 [min-max] | max deviation of a logit, and most allowed | RSS, MB |"
    )
    peer = field[0].scores
    spread = f"\nThe peer's logits lie between {min(peer):.3f} and {max(peer):.3f}."
    return "\n".join([heading, "|---|---|---|---|---|---|", *lines, spread])


def deviation(one: Contestant, field: Sequence[Contestant]) -> float:
    """Return the largest difference of a score to the peer's."""
    (peer,) = (other for other in field if other.name == TRANSFORMERS)
    return float(np.abs(np.subtract(one.scores, peer.scores)).max())


def _row(one: Contestant, field: Sequence[Contestant], memory: int) -> str:
    by_name = {other.name: other for other in field}
    speeds = [len(one.scores) / seconds for seconds in one.seconds]
    ratios = [_ratios(one, by_name[base]) for base in (TRANSFORMERS, OURS_FP32)]
    allowed = _TOLERANCE.get(one.name)
    apart = deviation(one, field)
    said = "" if allowed is None else f"{apart:.1e}, {allowed:g}"
    if allowed is not None and not apart <= allowed:
        said += " **missed**"
    return (
        f"| {one.name} | {_spread(speeds)} | {_spread(ratios[0])} | {_spread(ratios[1])} "
        f"| {said} | {memory / 1e6:.0f} |"
    )


def _ratios(one: Contestant, base: Contestant) -> list[float]:
    """How many times as fast, round by round."""
    return [b / a for a, b in zip(one.seconds, base.seconds, strict=True)]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="Race LLM engines on a random model.")
    parser.add_argument("--pairs", type=Path, help="default: built from Debian's index")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    told = parser.parse_args()
    rankings = debian_pairs.read(debian_pairs.found(told.pairs))
    judged = [Ranking(r.query, r.docs[:_DOCS], ()) for r in rankings[:_QUERIES]]
    with tempfile.TemporaryDirectory(prefix="rrs-bench-") as directory:
        version = Path(directory, "v1-llm")
        corpus = [text for ranking in rankings for text in (ranking.query, *ranking.docs)]
        parameters = make(version, corpus)
        print(machine.describe())
        print(f"\n{parameters / 1e6:.0f} million random parameters: no figure of quality\n")
        print(race(version, Path(directory), judged, told), flush=True)


if __name__ == "__main__":
    main()
