"""The command: runs a verb, says a mistake in one line, and exits with its code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from rerank_server.errors import ConfigError, RerankServerError

INTERRUPTED = 130
TRACEBACK_VARIABLE = "RERANK_SERVER_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb named by the arguments (default: those of the process) and exit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(exit_code(lambda: _invoke(given)))


def _invoke(arguments: Sequence[str]) -> int:
    from rerank_server import cli  # here: most of what a Ctrl-C can interrupt is this import

    return cli.invoke(arguments)


def exit_code(action: Callable[[], int]) -> int:
    """Run an action and return the exit code; whatever goes wrong is one line on stderr."""
    try:
        code = action()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (`| head`). What is buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except ConfigError as error:
        for problem in error.problems:
            _say(f"error: {problem}")
        return error.exit_code
    except RerankServerError as error:
        _say(f"error: {error.message}")
        return error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"error: {where}{error.strerror or error}")
        return 1
    except Exception as error:
        # The top of the program: a bug must not look like an answer, nor like a crash report.
        if os.environ.get(TRACEBACK_VARIABLE):
            sys.excepthook(type(error), error, error.__traceback__)
        _say(
            f"error: a bug in rerank-server: {type(error).__name__}: {error} "
            f"(set {TRACEBACK_VARIABLE}=1 to see where)"
        )
        return 1
    return code


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
