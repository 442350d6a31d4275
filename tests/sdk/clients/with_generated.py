"""Generates a client from an OpenAPI file and asks the server with it.

Arguments: the server's URL, the file, a directory for the client.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path


def main(url: str, description: str, directory: str) -> None:
    binaries = str(Path(sys.executable).parent)  # the generator formats with its own ruff
    subprocess.run(
        [
            *(f"{binaries}/openapi-python-client", "generate", "--meta", "none"),
            *("--fail-on-warning", "--path", description),
            *("--output-path", f"{directory}/generated"),
        ],
        check=True,
        stdout=sys.stderr,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"},
    )
    sys.path.insert(0, directory)
    client = importlib.import_module("generated").Client(base_url=url)
    models = importlib.import_module("generated.models")
    score = importlib.import_module("generated.api.score.score_rerank_v2_m3").sync

    docs = ["Paris", "Rome"]
    native = score(client=client, body=models.NativeRequest(query="q", docs=docs, top_n=1))
    cohere = score(client=client, body=models.DocumentsRequest(query="q", documents=docs))
    tei = score(client=client, body=models.TeiRequest(query="q", texts=docs))
    bad = score(client=client, body=models.NativeRequest(query="", docs=docs))
    print(json.dumps({
        "native": [native.version, native.scores, [r.index for r in native.results]],
        "cohere": [(r.index, r.relevance_score) for r in cohere.results],
        "tei": [(r.index, r.score) for r in tei],
        "bad": bad.error.message,
    }))  # fmt: skip


main(*sys.argv[1:4])
