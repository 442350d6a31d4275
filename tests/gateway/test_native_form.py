"""The server's own body and answer."""

from __future__ import annotations

import pytest

from tests.gateway.fakes import scores
from tests.gateway.harness import Gateway

BODY = {"query": "q", "docs": ["aa", "bbb", "c"]}


def test_answer_has_scores_in_input_order_and_results_best_first(gateway: Gateway) -> None:
    answer = gateway.post(body=BODY)

    assert answer.status_code == 200
    said = answer.json()
    assert said.pop("timing_ms").keys() == {"queue", "inference", "total"}
    assert said == {
        "version": "v1",
        "scores": [0.2, 0.3, 0.1],
        "results": [
            {"index": 1, "score": 0.3},
            {"index": 0, "score": 0.2},
            {"index": 2, "score": 0.1},
        ],
        "fallback": None,
        "degraded": None,
        "usage": {"pairs": 3, "tokens": 9},
    }
    assert answer.headers["x-rerank-version"] == "v1"
    assert "x-rerank-fallback" not in answer.headers


def test_timing_passes_on_the_workers_figures(gateway: Gateway) -> None:
    timing = gateway.post(body=BODY).json()["timing_ms"]

    assert timing["queue"] == 1.5
    assert timing["inference"] == 2.5
    assert timing["total"] > 0


def test_results_are_ordered_by_raw_score_and_ties_by_index(gateway: Gateway) -> None:
    gateway.workers.behaviours = {"v1.1": scores([9.0, 30.0, 9.0], unit=[0.9, 0.9, 0.9])}

    said = gateway.post(body=BODY).json()

    assert [result["index"] for result in said["results"]] == [1, 0, 2]
    assert said["scores"] == [0.9, 0.9, 0.9]


def test_raw_scores_are_given_on_request(gateway: Gateway) -> None:
    said = gateway.post(body=BODY | {"raw_scores": True}).json()

    assert said["scores"] == [2.0, 3.0, 1.0]
    assert said["results"][0] == {"index": 1, "score": 3.0}


@pytest.mark.parametrize(("top_n", "expected"), [(1, [1]), (2, [1, 0]), (9, [1, 0, 2])])
def test_top_n_cuts_results_but_not_scores(
    gateway: Gateway, top_n: int, expected: list[int]
) -> None:
    said = gateway.post(body=BODY | {"top_n": top_n}).json()

    assert [result["index"] for result in said["results"]] == expected
    assert len(said["scores"]) == 3


def test_docs_are_returned_on_request(gateway: Gateway) -> None:
    said = gateway.post(body=BODY | {"return_docs": True, "top_n": 1}).json()

    assert said["results"] == [{"index": 1, "score": 0.3, "doc": "bbb"}]


@pytest.mark.parametrize(
    "more",
    [
        {"top_n": None, "return_docs": None, "raw_scores": None, "model": None},
        {"return_docs": "false", "raw_scores": "False"},
        {"model": ""},
        {"priority": 3, "user": {"name": "x"}},
    ],
)
def test_nulls_flag_words_and_unknown_keys_are_taken(
    gateway: Gateway, more: dict[str, object]
) -> None:
    answer = gateway.post(body=BODY | more)

    assert answer.status_code == 200
    assert answer.json()["scores"] == [0.2, 0.3, 0.1]


def test_flag_word_true_means_true(gateway: Gateway) -> None:
    said = gateway.post(body=BODY | {"return_docs": "true"}).json()

    assert said["results"][0]["doc"] == "bbb"


def test_empty_docs_give_an_empty_result_without_asking_a_worker(gateway: Gateway) -> None:
    answer = gateway.post(body={"query": "q", "docs": []})

    assert answer.status_code == 200
    assert answer.json()["version"] == "v1"
    assert answer.json()["scores"] == []
    assert answer.json()["results"] == []
    assert answer.json()["usage"] == {"pairs": 0, "tokens": 0}
    assert gateway.workers.visits == []


def test_empty_documents_and_texts_of_any_language_reach_the_worker(gateway: Gateway) -> None:
    answer = gateway.post(body={"query": "問い 🙂", "docs": ["", "ünï\u0000code"]})

    assert answer.status_code == 200
    assert gateway.workers.errands[0].payload == (
        '{"query":"問い 🙂","docs":["","ünï\\u0000code"]}'.encode()
    )


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/vnd.api+json",
        "TEXT/JSON",
    ],
)
def test_json_is_read_under_any_usual_content_type(
    gateway: Gateway, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    answer = gateway.post(content=b'{"query":"q","docs":["a"]}', headers=headers)

    assert answer.status_code == 200


def test_a_trailing_slash_changes_nothing(gateway: Gateway) -> None:
    assert gateway.post("/rerank/v1/", BODY).status_code == 200


@pytest.mark.parametrize("sent", ["abc-123", "x" * 128, "a b"])
def test_a_sane_request_id_is_echoed(gateway: Gateway, sent: str) -> None:
    answer = gateway.post(body=BODY, headers={"x-request-id": sent})

    assert answer.headers["x-request-id"] == sent
    assert gateway.workers.errands[0].request_id == sent


@pytest.mark.parametrize("sent", [b"", b" ", b"x" * 129, b"caf\xc3\xa9", b"a\tb"])
def test_a_request_id_unfit_to_print_is_replaced(gateway: Gateway, sent: bytes) -> None:
    headers = {"x-request-id": sent.decode("latin-1")} if sent else {}

    made = {gateway.post(body=BODY, headers=headers).headers["x-request-id"] for _ in range(2)}

    assert len(made) == 2
    assert sent.decode("latin-1") not in made


def test_a_document_that_was_cut_off_is_marked(gateway: Gateway) -> None:
    gateway.workers.behaviours = {"v1.1": scores([1.0, 3.0, 2.0], truncated=[0, 1])}

    said = gateway.post(body=BODY).json()

    assert said["results"] == [
        {"index": 1, "score": 0.3, "truncated": True},
        {"index": 2, "score": 0.2},
        {"index": 0, "score": 0.1, "truncated": True},
    ]


def test_the_best_window_of_a_long_document_is_named(gateway: Gateway) -> None:
    windows = [[0, 2, 0, 1], [10, 30, 1, 3], [0, 1, 0, 1]]
    gateway.workers.behaviours = {"v1.1": scores([1.0, 3.0, 2.0], windows=windows)}

    said = gateway.post(body=BODY | {"return_docs": True, "top_n": 2}).json()

    assert said["results"] == [
        {
            "index": 1,
            "score": 0.3,
            "doc": "bbb",
            "window": {"start": 10, "end": 30, "number": 1, "count": 3},
        },
        {"index": 2, "score": 0.2, "doc": "c"},
    ]
