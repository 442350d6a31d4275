from __future__ import annotations

import logging
import signal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server import logs
from rerank_server.core.last_words import last_words

NEWS = "2026-11-22 19:20:01,123 INFO rerank_workers.worker worker ready dtype=float32"
WARNED = "2026-11-22 19:20:02,123 WARNING rerank_workers.service model error request_id=x"
ERROR = "2026-11-22 19:20:03,123 ERROR rerank_workers.runner version failed to start"
RAISED = """Traceback (most recent call last):
  File "/opt/v1/rerank.py", line 3, in load
    weights = read()
ValueError: header is damaged"""
SHOWN = (
    'Traceback (most recent call last): | File "/opt/v1/rerank.py", line 3, in load | '
    "weights = read() | ValueError: header is damaged"
)
DUMP = """Thread 0x1 (most recent call first):
  File "/opt/v1/rerank.py", line 9 in rerank"""
CRASH = """Fatal Python error: Segmentation fault

Current thread 0x1 (most recent call first):
  File "a.py", line 1 in f
  File "b.py", line 2 in g
Extension modules: numpy"""
KILLED = -signal.SIGKILL


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        ([NEWS, NEWS], KILLED, ""),
        ([NEWS, WARNED], KILLED, ""),
        ([NEWS, "Loading weights: 100%"], KILLED, ""),
        ([NEWS, "bye"], 17, "bye"),
        ([NEWS, "bye"], -signal.SIGTERM, "bye"),
        ([NEWS, WARNED], 1, ""),
        ([NEWS, ERROR, RAISED, NEWS], 3, f"{ERROR} | {SHOWN}"),
        ([RAISED, NEWS], KILLED, SHOWN),
        ([NEWS, "Loading", RAISED], 1, SHOWN),
        ([RAISED, *[NEWS] * 24], 1, ""),
        ([NEWS, DUMP, NEWS], KILLED, DUMP.replace("\n  ", " | ")),
        ([NEWS, "terminate called after throwing 'x'", "note"], -signal.SIGABRT,
         "terminate called after throwing 'x'"),
        ([NEWS, CRASH, NEWS], -signal.SIGSEGV,
         'Fatal Python error: Segmentation fault | Current thread 0x1 (most recent call first): | '
         'File "a.py", line 1 in f | File "b.py", line 2 in g | Extension modules: numpy | '
         + NEWS),
        ([], KILLED, ""),
        ([], 1, ""),
    ],
)  # fmt: skip
def test_only_what_looks_like_an_error_is_quoted(lines: list[str], code: int, said: str) -> None:
    assert last_words("\n".join(lines), had_time=code != KILLED) == said


@pytest.mark.parametrize("form", [logs.Console(), logs.Json()])
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, logging.ERROR])
def test_the_gateway_s_own_lines_are_told_apart_by_their_level(
    form: logging.Formatter, level: int
) -> None:
    record = logging.makeLogRecord({"msg": "it failed", "levelno": level, "request_id": "x"})
    record.levelname = logging.getLevelName(level)

    said = last_words(form.format(record), had_time=False)

    assert ("it failed" in said) == (level == logging.ERROR)


def test_a_traceback_that_python_wrote_is_quoted_to_its_end() -> None:
    try:
        raise OSError("no such card")
    except OSError:
        record = logging.makeLogRecord({"msg": "x", "levelname": "ERROR"})
        record.exc_info = sys.exc_info()

    said = last_words(f"{NEWS}\n{logs.Console().format(record)}\n{NEWS}", had_time=True)

    assert said.endswith("OSError: no such card")


@given(st.text(alphabet=' \n\t:abE"{', max_size=200), st.booleans())
def test_any_output_is_cut_to_a_few_lines(text: str, had_time: bool) -> None:
    assert last_words(text, had_time=had_time).count(" | ") < 8
