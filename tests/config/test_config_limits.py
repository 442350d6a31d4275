"""What requests may take: the config's limits, and how they reach the gateway."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from rerank_server.config import Config, ServerConfig, VersionConfig, parse
from rerank_server.config_rules import NARROWED
from rerank_server.core.limits import Limits, VersionLimits
from rerank_server.errors import ConfigError
from rerank_server.supervisor.desired import version_limits


def config(version: str = "", server: str = "") -> Config:
    text = f"default_version: v1\nserver: {{{server}}}\nversions:\n  v1: {{{version}}}\n"
    return parse(text, path="config.yaml")


def test_a_gateway_without_a_table_has_the_config_s_defaults() -> None:
    server = ServerConfig()

    assert asdict(Limits()) == {key: getattr(server, key) for key in Limits.__slots__}


def test_a_version_without_limits_has_the_server_s() -> None:
    assert version_limits(config(), "v1") == VersionLimits()
    assert version_limits(config(server="max_docs: 7"), "v1") == VersionLimits(max_docs=7)


def test_a_version_narrows_what_the_server_takes() -> None:
    narrow = config("max_docs: 3, request_timeout_s: 5", "max_docs: 7, max_doc_chars: 9")

    assert version_limits(narrow, "v1") == VersionLimits(
        max_docs=3, request_timeout_s=5.0, max_doc_chars=9
    )


def test_a_request_has_no_more_documents_than_may_wait() -> None:
    assert version_limits(config("max_queued_pairs: 5"), "v1").max_docs == 5


def test_every_limit_of_a_version_but_its_queue_narrows_one_of_the_server() -> None:
    names = {field.name for field in fields(VersionLimits)}

    assert names == {*NARROWED, "max_queued_pairs"}
    assert all(VersionConfig.model_fields[name].default is None for name in NARROWED)


@pytest.mark.parametrize("key", NARROWED)
def test_a_version_cannot_take_more_than_the_server(key: str) -> None:
    most = ServerConfig().model_dump()[key]

    with pytest.raises(ConfigError) as caught:
        config(f"{key}: {most + 1}")

    (problem,) = caught.value.problems
    assert problem.startswith(f"config.yaml:4: versions.v1.{key}: {most + 1} is more than")


def test_the_largest_body_must_fit_among_those_in_flight() -> None:
    with pytest.raises(ConfigError, match=r"server\.max_in_flight_bytes: 99 is less than"):
        config(server="max_body_bytes: 100, max_in_flight_bytes: 99")
