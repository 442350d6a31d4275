"""A stdout of our own: what libraries print must not end up between our lines of JSON."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def own_stdout() -> TextIO:
    """Keep stdout for ourselves from now on: what anything else prints there goes to stderr."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own
