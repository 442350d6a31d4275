"""Asks ModelScope (https://modelscope.cn) what a repository holds, over its HTTP API."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

from rerank_server.catalog import transfer
from rerank_server.catalog.transfer import RemoteFile, Snapshot, refusal
from rerank_server.errors import CatalogError

_TIMEOUT_S = 30.0


def snapshot(repo: str, revision: str | None = None, *, endpoint: str | None = None) -> Snapshot:
    """List the files of one revision (default: master).

    The user's `MODELSCOPE_DOMAIN` and `MODELSCOPE_API_TOKEN` hold; `endpoint` goes before the
    first. Files that git keeps itself come without a checksum if ModelScope has none for them.

    Raises:
        CatalogError: ModelScope cannot be reached, or does not know the repository.
    """
    import httpx

    domain = os.environ.get("MODELSCOPE_DOMAIN", "www.modelscope.cn")
    base = f"{endpoint or f'https://{domain}'}/api/v1/models/{quote(repo)}/repo"
    wanted = quote(revision or "master", safe="")
    headers = _headers()
    try:
        with transfer.client(_TIMEOUT_S) as client:
            answer = client.get(f"{base}/files?Revision={wanted}&Recursive=True", headers=headers)
    except httpx.HTTPError as error:
        raise CatalogError(f"{repo}: ModelScope cannot be reached ({error})") from error
    if not answer.is_success:
        raise CatalogError(f"{repo}: {refusal(answer.status_code)}")
    try:
        listed = answer.json()["Data"]["Files"]
        files = tuple(_file(entry, base, wanted) for entry in listed if entry["Type"] == "blob")
    except (ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"{repo}: ModelScope's answer is not a list of files") from error
    return Snapshot("modelscope", repo, revision or "master", files, headers)


def _file(entry: Mapping[str, object], base: str, revision: str) -> RemoteFile:
    path = str(entry["Path"])
    return RemoteFile(
        path=path,
        url=f"{base}?Revision={revision}&FilePath={quote(path, safe='')}",
        size_bytes=int(str(entry["Size"])),
        sha256=str(entry.get("Sha256") or "") or None,
    )


def _headers() -> Mapping[str, str]:
    token = os.environ.get("MODELSCOPE_API_TOKEN")
    return {"Cookie": f"m_session_id={token}"} if token else {}
