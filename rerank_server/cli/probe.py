"""The verb that has a live version score a fixed set of pairs, and judges the answer."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from rerank_server.cli import places
from rerank_server.cli.client import client, failure, find, serving
from rerank_server.errors import RerankServerError

_TIMEOUT_S = 70.0  # above the default request_timeout_s: the server's own deadline decides


def probe(
    *,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Which one.")],
    as_json: Annotated[bool, typer.Option("--json", help="The server's answer as JSON.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0, help="How long to wait for it.")
    ] = _TIMEOUT_S,
    run_dir: places.RunDirOption = None,
) -> int:
    """Have a version score a fixed question.

    Through the gateway, by the live processes of that very version. Exit code 0 if each answers
    with finite scores in the right order. Over HTTP: GET ENDPOINT/health?deep=1.
    """
    snapshot = serving(places.run_dir(run_dir))
    asked = find(snapshot, version)
    import httpx

    with client(snapshot, timeout) as http:
        try:
            response = http.get(f"{asked.endpoint}/health", params={"deep": "1"})
            body = response.json()
        except httpx.TimeoutException as error:
            raise RerankServerError(f"{version}: no answer within {timeout:g} s") from error
        except httpx.HTTPError as error:
            raise RerankServerError(f"{snapshot.url}: {error}") from error
        except ValueError:
            body = None
    is_healthy = response.status_code == 200 and isinstance(body, dict)
    if as_json:
        print(json.dumps(body, indent=2, ensure_ascii=False))
    elif is_healthy:
        print(f"{version}: healthy ({_summary(body)})")
    if not is_healthy:
        print(f"error: {version}: {failure(asked, response.status_code, body)}", file=sys.stderr)
    return 0 if is_healthy else 1


def _summary(body: dict[str, object]) -> str:
    """Return what each process scored and how fast, on one line."""
    instances = body.get("instances")
    found = []
    for instance in instances if isinstance(instances, list) else []:
        scores = ", ".join(f"{score:.4f}" for score in instance["scores"])
        found.append(f"{instance['id']}: {scores} in {instance['inference_ms']:.0f} ms")
    return "; ".join(found)
