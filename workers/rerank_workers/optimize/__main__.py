"""`python -m rerank_workers.optimize DIRECTORY`: makes a version's `model_cpu/`.

Prints JSON lines and nothing else on stdout: `{"stage": str, "share": 0..1}` while it runs, then
`{"installed": str | null, "report": {...}}` or `{"error": str}`. Exit codes: 0 installed, 1 refused
or failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from rerank_workers.environment import prepare
from rerank_workers.stdout import own_stdout

_Say: TypeAlias = Callable[[dict[str, object]], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one optimisation as told on the command line."""
    told = _parser().parse_args(arguments)
    prepare(os.environ, told.threads, told.threads)
    with own_stdout() as out:

        def say(message: dict[str, object]) -> None:
            print(json.dumps(message), file=out, flush=True)

        try:
            return _run(told, say)
        except ImportError as error:
            what = "pip install 'rerank-server[openvino]'"
            say({"error": f"{error.name or error} is not installed; install it with: {what}"})
        except Exception as error:  # a loop's top: the caller reads lines, not tracebacks
            if not isinstance(error, _mistakes()):
                traceback.print_exc()
            say({"error": str(error) or type(error).__name__})
    return 1


def _run(told: argparse.Namespace, say: _Say) -> int:
    from rerank_workers.optimize import optimizer, texts

    requests = texts.own() if told.texts is None else texts.read(told.texts)
    # What is judged must not have been calibrated on.
    if told.labelled is not None:
        judged = texts.read(told.labelled)
        calibration = requests if told.texts is not None else []
    else:
        half = len(requests) // 2
        calibration = requests[half:] if told.texts is not None and half else []
        judged = requests[:half] if calibration else requests
    kinds = optimizer.default_kinds(is_calibrated=bool(calibration))
    if told.variant is not None:
        kinds = (told.variant.replace("-", " "),)
        calibration = calibration or requests
    plan = optimizer.Plan(
        told.directory.resolve(),
        kinds,
        tuple(judged[: told.requests]),
        tuple(calibration),
        told.threads,
        told.max_length,
    )
    result = optimizer.optimize(plan, lambda stage, share: say({"stage": stage, "share": share}))
    say({"installed": result.installed, "report": dict(result.report)})
    return 0 if result.installed is not None else 1


def _mistakes() -> tuple[type[Exception], ...]:
    from rerank_workers.engines.files import ModelFilesError
    from rerank_workers.optimize.texts import TextsError

    return ModelFilesError, TextsError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rerank_workers.optimize")
    parser.add_argument("directory", type=Path, help="the version's directory")
    parser.add_argument(
        "--texts", type=Path, help="labelled requests or plain documents, one a line"
    )
    parser.add_argument(
        "--labelled", type=Path, help="requests to judge on; then all of --texts calibrate"
    )
    parser.add_argument("--variant", choices=("bfloat16", "int8-dynamic", "int8-static"))
    parser.add_argument("--requests", type=int, default=24, help="most requests to judge on")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--max-length", type=int, default=512)
    return parser


if __name__ == "__main__":
    # OpenVINO's threads may outlive the interpreter's own end and abort it.
    code = main()
    sys.stdout.flush()
    os._exit(code)
