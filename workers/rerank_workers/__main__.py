"""Entry of a worker process: `python -I -m rerank_workers --control-fd N --lifeline-fd M ...`."""

from __future__ import annotations

import argparse

from rerank_workers import lifeline


def _run() -> None:
    parser = argparse.ArgumentParser(
        prog="rerank_workers", description="A worker process; started by the supervisor."
    )
    parser.add_argument("--control-fd", type=int, required=True, help="socket to the supervisor")
    parser.add_argument("--lifeline-fd", type=int, required=True, help="pipe that ends with it")
    parser.add_argument("--parent-pid", type=int, required=True, help="the supervisor")
    options = parser.parse_args()
    # First of all, before the longer imports: whatever happens now, we do not outlive our parent.
    lifeline.follow_parent(options.parent_pid)
    lifeline.watch(options.lifeline_fd)
    lifeline.ignore_terminal()
    lifeline.dump_stacks_on_signal()
    lifeline.refuse_import("rerank_server")

    from rerank_workers.main import main

    main(options.control_fd)


if __name__ == "__main__":
    _run()
