from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from rerank_server.cli.asking import Answer
from rerank_server.cli.compare import render
from tests.cli.conftest import Done, Fake
from tests.cli.gateway import listening
from tests.core.state_json import instance, state, version

DOCS = ["Boeing 707 entered service in 1958.", "The de Havilland Comet was the first jet airliner."]


class Gateway(BaseHTTPRequestHandler):
    """Answers by path: two versions serve, one refuses as the real gateway does, one talks rot."""

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(size))
        status, answer = 200, self.answer(body["docs"])
        said = (self.headers["X-Rerank-Strict"], self.headers["X-Rerank-Mirror"])
        if self.path == "/rerank/v1" or said != ("1", "never"):
            message = "v1 does not answer now: failed"
            status, answer = 503, {"error": {"code": "unavailable", "message": message}}
        if self.path == "/rerank/v9":
            answer = {"hello": "world"}
        if self.path == "/rerank/v8":
            status, answer = 502, ["no"]
        content = json.dumps(answer).encode() if self.path != "/rerank/v7" else b"<html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def answer(self, docs: list[str]) -> object:
        # Equal as shown, yet the server ranks by what is not shown: the last one is the best.
        results = [{"index": index, "score": 0.5} for index in reversed(range(len(docs)))]
        return {
            "version": "v5" if self.path == "/rerank/v6" else self.path.rpartition("/")[2],
            "fallback": {"from": "v6", "reason": "failed"} if self.path == "/rerank/v6" else None,
            "degraded": None,
            "scores": [0.5] * len(docs),
            "results": results,
            "timing_ms": {"queue": 0.1, "inference": 2.5, "total": 2.7},
        }

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def serving(fake: Fake) -> Iterator[Fake]:
    with listening(Gateway) as url:
        picture = state(
            version("v2-m3", "RUNNING", instance("v2-m3", 1, 91), default=True),
            version("v2-gemma", "RUNNING", instance("v2-gemma", 1, 92)),
            version("v1", "FAILED", reason="no model files; run: rerank-server pull v1"),
            version("v1-off", "DISABLED", enabled=False),
            version("v9", "RUNNING", instance("v9", 1, 94), enabled=False),
            version("v8", "RUNNING", instance("v8", 1, 95), enabled=False),
            version("v7", "RUNNING", instance("v7", 1, 96), enabled=False),
            version("v6", "RUNNING", instance("v6", 1, 97), enabled=False),
            url=url,
        )
        picture["time"] = time.time()
        fake.tell(state=picture)
        fake.start(wait="0")
        yield fake


def test_compare_prints_one_table_of_the_running_versions(serving: Fake) -> None:
    done = serving.command("compare", "first jet airliner?", *DOCS, "--versions", "v2-m3,v2-gemma")

    assert (done.code, done.err) == (0, [])
    *table, latency = done.out
    assert table == [
        "query: first jet airliner?",
        "",
        "document                                                v2-m3   v2-gemma",
        "Boeing 707 entered service in 1958.                 0.5000 #2  0.5000 #2",
        "The de Havilland Comet was the first jet airliner.  0.5000 #1  0.5000 #1",
    ]
    assert latency.startswith("latency")
    assert latency.endswith(" ms")


def test_a_version_that_cannot_answer_shows_its_reason_and_the_code_is_1(serving: Fake) -> None:
    done = serving.command("compare", "q", *DOCS)

    assert (done.code, done.err) == (1, [])
    assert done.out[2].split() == ["document", "v2-m3", "v2-gemma", "v1"]
    assert done.out[3].endswith("0.5000 #2  0.5000 #2   -")
    assert done.out[-1] == "v1: FAILED (no model files; run: rerank-server pull v1)"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("v1-off", None),
        ("v9", "its answer is not one of rerank-server"),
        ("v8", "HTTP 502"),
        ("v7", "its answer is not one of rerank-server"),
        ("v6", "v5 answered in its place"),
    ],
)
def test_an_answer_that_is_none_is_that_versions_reason(
    serving: Fake, name: str, reason: str | None
) -> None:
    done = serving.command("compare", "q", *DOCS, "--versions", name, "--json")

    [answer] = json.loads("\n".join(done.out))["versions"]
    assert (answer["version"], answer["error"]) == (name, reason)
    assert done.code == (1 if reason else 0)


def test_the_json_form_has_the_whole_documents(serving: Fake) -> None:
    done = serving.command("compare", "q", *DOCS, "--versions", "v2-m3", "--json")

    value = json.loads("\n".join(done.out))
    [answer] = value["versions"]
    assert answer.pop("latency_ms") > 0
    assert value == {
        "query": "q",
        "docs": DOCS,
        "versions": [
            {
                "version": "v2-m3",
                "scores": [0.5, 0.5],
                "ranks": [2, 1],
                "inference_ms": 2.5,
                "error": None,
            }
        ],
    }


@pytest.mark.parametrize(
    ("names", "hint"),
    [("v2-m4", "did you mean 'v2-m3'?"), ("zzz", "there are: v2-m3, v2-gemma, v1, v1-off")],
)
def test_an_unknown_version_is_a_usage_error_with_the_nearest(
    serving: Fake, names: str, hint: str
) -> None:
    done = serving.command("compare", "q", "d", "--versions", names)

    assert (done.code, done.out) == (2, [])
    assert done.err[0].startswith(f"error: no version '{names}' here; {hint}")


def test_a_server_that_does_not_listen_is_one_line(fake: Fake) -> None:
    running = version("v2-m3", "RUNNING", instance("v2-m3", 1, 91))
    with listening(Gateway) as gone:
        pass
    fake.tell(state=state(running, url=gone))
    fake.start()

    done = fake.command("compare", "q", "d")

    assert (done.code, done.out) == (1, [])
    assert done.err[0].startswith(f"error: {gone}: ")


def test_a_server_without_a_state_does_not_serve_yet(fake: Fake) -> None:
    fake.tell(state=state(version("v2-m3", "RUNNING", instance("v2-m3", 1, 91))))
    fake.start()
    fake.options.run.state.unlink()

    assert fake.command("compare", "q", "d") == Done(
        4, [], [f"error: the server (PID: {fake.pid()}) does not serve yet"]
    )


def test_long_and_wide_documents_are_cut_to_the_terminal() -> None:
    answers = [
        Answer("v2-m3", (0.91234, 0.1), (1, 2), 12.4, 9.0),
        Answer("v1", error="STARTING (PID: 9, 12 s)"),
    ]

    lines = render("问题 " * 40, ["重排序模型" * 20, "one\ntwo"], answers, 60)

    assert lines == [
        "query: 问题 问题 问题 问题 问题 问题 问题 问题 问题 问题 问…",
        "",
        "document                                 v2-m3  v1",
        "重排序模型重排序模型重排序模型重排…  0.9123 #1   -",
        "one two                              0.1000 #2   -",
        "latency                                  12 ms   -",
        "v1: STARTING (PID: 9, 12 s)",
    ]
