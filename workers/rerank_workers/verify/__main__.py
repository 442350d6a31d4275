"""`python -m rerank_workers.verify --directory DIR`: proves a version, without a server.

Prints one JSON object and nothing else on stdout: `{"checks": [{"name", "ok", "text", "figures",
"warns"}], "settings": {...}}` or `{"error": str}`. Exit codes: 0 all is well, warnings or not, 1 it
is not, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rerank_workers.environment import prepare, raise_oom_score, usable_cores
from rerank_workers.failures import reason_of
from rerank_workers.stdout import own_stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one version as told on the command line."""
    told = _parser().parse_args(arguments)
    raise_oom_score()
    threads = prepare(os.environ, told.threads, usable_cores())
    with own_stdout() as out:
        try:
            code, said = _run(told, threads)
        except (Exception, SystemExit) as error:  # a loop's top: the caller reads JSON
            traceback.print_exc()
            code, said = 1, {"error": reason_of(error, "rerank.py")}
        print(json.dumps(said), file=out, flush=True)
    return code


def _run(told: argparse.Namespace, threads: int) -> tuple[int, Mapping[str, object]]:
    # The libraries read the number of threads when they are imported.
    from rerank_workers.engines.choice import STORE
    from rerank_workers.scorer import Context
    from rerank_workers.verify.verifier import verify

    context = Context(
        version=told.version,
        directory=told.directory.resolve(),
        model=told.model,
        device=told.device,
        batch_size=told.batch_size,
        max_length=told.max_length,
        max_batch_tokens=told.max_batch_tokens,
        use_fp16=told.fp16,
        threads=threads,
        options={} if told.engine_store is None else {STORE: told.engine_store},
    )
    report = verify(context)
    is_well = all(check.ok is not False for check in report.checks)
    found = [asdict(check) for check in report.checks]
    return int(not is_well), {"checks": found, "settings": dict(report.settings)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rerank_workers.verify")
    parser.add_argument("--directory", type=Path, required=True, help="the version's directory")
    parser.add_argument("--version", default="", help="its name")
    parser.add_argument("--model", choices=("model", "model_cpu"), default="model")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--max-batch-tokens", type=int, default=8192)
    parser.add_argument("--fp16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--threads", type=int, help="default: the cores this process may use")
    parser.add_argument("--engine-store", help="file the choice of an engine is remembered in")
    return parser


if __name__ == "__main__":
    # Threads of the engines may outlive the interpreter's own end and abort it.
    code = main()
    sys.stdout.flush()
    os._exit(code)
