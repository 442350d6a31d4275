from __future__ import annotations

import logging

import pytest

from rerank_workers.logs import FieldFormatter
from rerank_workers.settings import SettingsError, parse_settings
from tests.workers.worker_process import PARAMETERS

MESSAGE = {**PARAMETERS, "type": "configure", "directory": "/v", "socket": "/s"}


def test_a_message_becomes_a_value_and_unknown_fields_are_ignored() -> None:
    settings = parse_settings({**MESSAGE, "later": "protocol"})

    assert (settings.version, settings.batch_size, str(settings.path)) == ("v1", 4, "/v")


@pytest.mark.parametrize("threads", [None, 3])
def test_threads_may_be_left_to_the_worker(threads: int | None) -> None:
    assert parse_settings({**MESSAGE, "threads": threads}).threads == threads


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", "16"),
        ("batch_size", True),
        ("batch_size", None),
        ("threads", 1.5),
        ("use_fp16", 1),
        ("directory", 3),
    ],
)
def test_a_field_of_another_type_is_told(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"configure: {name} has type"):
        parse_settings({**MESSAGE, name: value})


def test_a_missing_field_is_told() -> None:
    with pytest.raises(SettingsError, match="configure: batch_size is missing"):
        parse_settings({k: v for k, v in MESSAGE.items() if k != "batch_size"})


def test_a_log_line_carries_its_fields_behind_the_phrase() -> None:
    record = logging.makeLogRecord({"name": "x", "msg": "worker ready", "levelname": "INFO"})
    record.device = "cpu"

    assert FieldFormatter().format(record).endswith(" INFO x worker ready device=cpu")
