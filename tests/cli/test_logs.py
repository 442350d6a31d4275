from __future__ import annotations

import json
import logging
import re
import subprocess
import sys

import pytest

from rerank_server.logs import Console, Json

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}"


def record(**fields: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": "rerank_server.x",
            "process": 7,
            "levelname": "INFO",
            "msg": "worker %s",
            "args": ("ready",),
        }
        | fields
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "info worker ready"),
        ({"worker": "v1.1", "load_s": 3.1}, "info worker ready worker=v1.1 load_s=3.1"),
        ({"why": "a b"}, 'info worker ready why="a b"'),
        ({"why": ""}, 'info worker ready why=""'),
        ({"change": {"to": "FAILED"}}, 'info worker ready change={"to": "FAILED"}'),
        ({"text": "a\nb"}, 'info worker ready text="a\\nb"'),
    ],
)
def test_a_record_is_one_line_with_its_fields(fields: dict[str, object], expected: str) -> None:
    line = Console().format(record(**fields))

    assert re.fullmatch(f"{TIME} {re.escape(expected)}", line)


def test_a_record_as_json_is_one_object() -> None:
    value = json.loads(Json().format(record(worker="v1.1", path=object)))

    assert re.fullmatch(TIME, value.pop("time"))
    assert value == {
        "level": "info",
        "logger": "rerank_server.x",
        "pid": 7,
        "message": "worker ready",
        "worker": "v1.1",
        "path": "<class 'object'>",
    }


def test_a_traceback_comes_along() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        failed = record(exc_info=sys.exc_info())

    assert Console().format(failed).endswith("ValueError: bad")
    assert json.loads(Json().format(failed))["exception"].endswith("ValueError: bad")


@pytest.mark.parametrize(("form", "start"), [("console", ""), ("json", "{")])
def test_records_of_the_configured_level_go_to_stderr(form: str, start: str) -> None:
    script = (
        "import logging, sys\n"
        "from rerank_server.logs import configure\n"
        f"configure({form!r}, 'info')\n"
        "logging.getLogger('x').debug('hidden')\n"
        "logging.getLogger('x').info('shown')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    [line] = done.stderr.splitlines()
    assert "shown" in line
    assert line.startswith(start)
