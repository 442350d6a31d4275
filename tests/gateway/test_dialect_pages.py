"""The pages that other servers' clients look at before they score."""

from __future__ import annotations

import pytest

from rerank_server.core.routing import FallbackReason
from tests.gateway.fakes import route, table
from tests.gateway.fleet_state import publish_state
from tests.gateway.harness import Gateway, series

STATE = {
    "server": {"started_at": 1_800_000_000.5},
    "versions": [
        {
            "name": "v2",
            "source": "v2-m3",
            "settings": {"batch_size": 16, "max_length": 512, "max_batch_tokens": 8192},
            "info": {"dtype": "bfloat16"},
            "digest": "5f" * 32,
        }
    ],
}


@pytest.fixture
def fleet(gateway: Gateway) -> Gateway:
    """Return a gateway before three versions, v1 being the default."""
    gateway.show(
        table(
            route("v1", "v1.1"),
            route("v2", "v2.1", endpoint="/second"),
            route("v3", enabled=False, absent=FallbackReason.DISABLED),
        )
    )
    publish_state(gateway.directory, STATE)
    return gateway


def test_info_describes_a_version_in_teis_words(fleet: Gateway) -> None:
    answer = fleet.get("/second/info")

    assert answer.status_code == 200
    said = answer.json()
    assert said.pop("version")
    assert said == {
        "model_id": "v2-m3",
        "model_sha": "5f" * 32,
        "model_dtype": "bfloat16",
        "served_model_name": "v2",
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        "max_concurrent_requests": 1000,
        "max_input_length": 512,
        "max_batch_tokens": 8192,
        "max_batch_requests": 16,
        "max_client_batch_size": 100,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "sha": None,
        "docker_label": None,
    }


@pytest.mark.parametrize(
    ("path", "header", "served", "fallback"),
    [
        ("/info", None, "v1", None),
        ("/info", "v2", "v2", None),
        ("/info", "nobody", "v1", "unknown; reason=unknown_version"),
        ("/rerank/v1/info", "v2", "v1", None),
        ("/v1/models/v2", None, "v2", None),
        ("/v1/models/BAAI/bge-reranker-v2-m3", None, "v1", "unknown; reason=unknown_version"),
        ("/v1/models/v3", None, "v1", "v3; reason=disabled"),
        ("/second/v1/models/anything", None, "v2", None),
    ],
)
def test_a_page_describes_the_version_a_score_request_would_mean(
    fleet: Gateway, path: str, header: str | None, served: str, fallback: str | None
) -> None:
    answer = fleet.get(path, **({} if header is None else {"x-rerank-version": header}))

    said = answer.json()
    assert answer.status_code == 200
    assert answer.headers["x-rerank-version"] == served
    assert answer.headers.get("x-rerank-fallback") == fallback
    assert served in (said.get("served_model_name"), said.get("id"))


def test_models_list_the_enabled_versions_as_rerankers(fleet: Gateway) -> None:
    said = fleet.get("/v1/models").json()

    assert said["object"] == "list"
    assert [(m["id"], m["model_type"], m["object"]) for m in said["data"]] == [
        ("v1", "rerank", "model"),
        ("v2", "rerank", "model"),
    ]
    assert said["data"][1] == {
        "id": "v2",
        "object": "model",
        "created": 1_800_000_000,
        "owned_by": "rerank-server",
        "model_type": "rerank",
        "model_name": "v2-m3",
        "model_description": "about v2",
        "digest": "5f" * 32,
        "max_model_len": 512,
        "is_ready": True,
    }


def test_below_a_versions_endpoint_only_that_version_is_listed(fleet: Gateway) -> None:
    said = fleet.get("/second/v1/models/").json()

    assert [model["id"] for model in said["data"]] == ["v2"]


@pytest.mark.parametrize("path", ["/v1/cluster/auth", "/second/v1/cluster/auth"])
def test_xinferences_clients_learn_that_no_login_is_needed(fleet: Gateway, path: str) -> None:
    assert fleet.get(path).json() == {"auth": False}


@pytest.mark.parametrize(
    "path", ["/info", "/v1/models", "/v1/models/v1", "/v1/cluster/auth", "/second/info"]
)
def test_pages_take_get_and_head_only_and_count_as_no_score_request(
    fleet: Gateway, path: str
) -> None:
    wrong = fleet.post(path, {})

    assert fleet.ask("HEAD", path).status_code == 200
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "GET, HEAD"
    assert not any("requests_total" in key for key in series(fleet.get("/metrics").text))


@pytest.mark.parametrize("path", ["/v1/models/", "/nothing/v1/models/x", "/rerank/v9/info"])
def test_unknown_pages_are_not_found_but_an_empty_model_name_lists(
    fleet: Gateway, path: str
) -> None:
    assert fleet.get(path).status_code == (200 if path == "/v1/models/" else 404)


def test_pages_without_any_state_file_still_answer(gateway: Gateway) -> None:
    assert gateway.get("/info").json()["model_id"] == "v1"
    assert gateway.get("/v1/models").json()["data"][0]["max_model_len"] is None
