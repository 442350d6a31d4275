"""Asks the Hugging Face hub, or a mirror of it, what a repository holds."""

from __future__ import annotations

from rerank_server.catalog.transfer import RemoteFile, Snapshot, refusal
from rerank_server.errors import CatalogError

_TIMEOUT_S = 30.0


def snapshot(repo: str, revision: str | None = None, *, endpoint: str | None = None) -> Snapshot:
    """List the files of one revision (default: the main branch), pinned to its commit.

    The user's `HF_ENDPOINT`, token and `HF_HUB_OFFLINE` hold; `endpoint` goes before the first.

    Raises:
        CatalogError: the hub cannot be reached, does not know the repository, or keeps it closed.
    """
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # Documented for use from outside, but re-exported without saying so.
    from huggingface_hub.errors import HTTPError as Failed  # type: ignore[attr-defined]
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    try:
        found = HfApi(endpoint=endpoint).model_info(
            repo, revision=revision, files_metadata=True, timeout=_TIMEOUT_S
        )
    except HFValidationError as error:
        raise CatalogError(f"{repo!r} is not a repository; it looks like org/name") from error
    except HfHubHTTPError as error:
        where = f"{repo} at {revision}" if revision else repo
        raise CatalogError(f"{where}: {refusal(error.response.status_code)}") from error
    except (Failed, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CatalogError(f"{repo}: the hub cannot be reached ({reason})") from error
    if not found.sha:
        raise CatalogError(f"{repo}: the hub names no commit")
    files = tuple(
        RemoteFile(
            path=file.rfilename,
            url=hf_hub_url(repo, file.rfilename, revision=found.sha, endpoint=endpoint),
            size_bytes=file.size or 0,
            sha256=file.lfs.sha256 if file.lfs else None,
            git_sha1=None if file.lfs else file.blob_id,
        )
        for file in found.siblings or ()
    )
    return Snapshot("hf", repo, found.sha, files, build_hf_headers(library_name="rerank-server"))
