"""A server whose versions score documents that are numbers, and a file of questions about them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Fake, finished, program
from tests.cli.gateway import listening
from tests.core.state_json import instance, state, version

QUESTIONS: list[Mapping[str, object]] = [
    {"query": "first", "docs": ["0.9", "0.1", "0.5"], "relevant": [0]},
    {"query": "second", "docs": ["0.3", "0.8", "0.5"], "relevant": [1]},
    {"query": "third", "docs": ["0.3", "0.8", "0.9"], "relevant": {"2": 3, "1": 1}},
]


@dataclass
class Behaviour:
    """What the gateway was asked, and where it waits until the test lets it go on."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    waits: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    later: dict[str, int] = field(default_factory=dict)
    """For which queries v2-gemma is too busy when first asked, and its Retry-After."""


class Gateway(BaseHTTPRequestHandler):
    """Version v2-m3 scores a document as it says, v2-gemma the other way round."""

    behaviour: Behaviour

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.rpartition("/")[2]
        self.behaviour.asked.append((name, body["query"]))
        if body["query"] == "wait":
            self.behaviour.waits.set()
            self.behaviour.go_on.wait(30)
        status, answer = 200, self.answer(name, body["docs"])
        if (name, body["query"]) == ("v2-gemma", "fail"):
            status, answer = 500, {"error": {"message": "the model failed"}}
        is_again = self.behaviour.asked.count((name, body["query"])) > 1
        later = self.behaviour.later.get(body["query"])
        if name == "v2-gemma" and later is not None and not is_again:
            status, answer = 429, {"error": {"message": "the queue is full"}}
        content = json.dumps(answer).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", str(later))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def answer(self, name: str, docs: list[str]) -> Mapping[str, object]:
        scores = [float(doc) if name == "v2-m3" else 1 - float(doc) for doc in docs]
        order = sorted(range(len(docs)), key=lambda index: -scores[index])
        return {
            "version": name,
            "fallback": None,
            "degraded": None,
            "scores": scores,
            "results": [{"index": index, "score": scores[index]} for index in order],
            "timing_ms": {"queue": 0.1, "inference": 2.5, "total": 2.7},
        }

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """A server to ask and a file to ask from."""

    fake: Fake
    behaviour: Behaviour
    file: Path

    def write(self, *questions: Mapping[str, object]) -> None:
        self.file.write_text("".join(json.dumps(question) + "\n" for question in questions))

    def arguments(self, *more: str) -> list[str]:
        run_dir = str(self.fake.options.run.path)
        return ["compare", "--file", str(self.file), "--run-dir", run_dir, *more]

    def compare(self, *more: str, **environ: str) -> Done:
        return finished(program(*self.arguments(*more)), environ)


@pytest.fixture
def place(fake: Fake, tmp_path: Path) -> Iterator[Place]:
    behaviour = Behaviour()
    handler = type("Handler", (Gateway,), {"behaviour": behaviour})
    with listening(handler) as url:
        picture = state(
            version("v2-m3", "RUNNING", instance("v2-m3", 1, 91), default=True),
            version("v2-gemma", "RUNNING", instance("v2-gemma", 1, 92)),
            version("v1", "FAILED", reason="no model files; run: rerank-server pull v1"),
            version("v1-off", "DISABLED", enabled=False),
            url=url,
        )
        picture["time"] = time.time()
        fake.tell(state=picture)
        fake.start(wait="0")
        made = Place(fake, behaviour, tmp_path / "questions.jsonl")
        made.write(*QUESTIONS)
        yield made
        behaviour.go_on.set()
