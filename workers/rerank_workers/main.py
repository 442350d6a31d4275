"""The worker process once it follows its parent: logs, event loop, exit."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import NoReturn

from rerank_workers.environment import raise_oom_score
from rerank_workers.logs import log_to_stderr
from rerank_workers.wire import EXIT_CRASHED
from rerank_workers.worker import run

log = logging.getLogger(__name__)


def main(control_descriptor: int) -> NoReturn:
    """Run the worker and leave with its exit code.

    Leaves by `os._exit`: threads may be inside a model's code, and libraries that crash while
    the interpreter takes itself apart would turn a clean end into a crash.
    """
    log_to_stderr()
    raise_oom_score()
    code = EXIT_CRASHED
    try:
        code = asyncio.run(run(control_descriptor))
    except Exception:
        log.exception("worker crashed")
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
