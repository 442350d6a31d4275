"""Carries out `compare --file`: reads, asks, computes, prints, writes."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rerank_server.cli import places
from rerank_server.cli.asking import Answer, ask
from rerank_server.cli.client import client, find, serving
from rerank_server.cli.evaluate import quality
from rerank_server.cli.evaluate.as_json import as_json
from rerank_server.cli.evaluate.build import build
from rerank_server.cli.evaluate.identity import Identity, digest, identities
from rerank_server.cli.evaluate.patience import Patient
from rerank_server.cli.evaluate.progress import progress
from rerank_server.cli.evaluate.questions import QuestionFile, load
from rerank_server.cli.evaluate.report import Report, Subject
from rerank_server.cli.evaluate.run import Run, measure
from rerank_server.cli.evaluate.text import render
from rerank_server.core.snapshot import Snapshot, VersionView
from rerank_server.core.status import line
from rerank_server.errors import RerankServerError, UsageError
from rerank_server.supervisor.rundir import RunDir, read_json, write_whole

_INTERRUPTED = 130
_PAGE_MODE = 0o644
_STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    file: Path
    versions: str | None
    k: int
    as_json: bool
    html: Path | None
    run_dir: Path | None
    timeout_s: float


def evaluate(wanted: Wanted) -> int:
    """Compare versions on a file and print what came of it; return the exit code.

    Raises:
        UsageError: a line of the file is wrong, or fewer than two versions are to be compared.
        MissingExtraError: the file has labels and nothing to judge by is installed.
        NotRunningError: no server runs.
        OSError: the file cannot be read or the page cannot be written.
    """
    file = load(wanted.file)
    if any(question.has_relevant for question in file.questions):
        quality.check_installed()
    if wanted.html is not None:
        _check_writable(wanted.html)
    run_dir = places.run_dir(wanted.run_dir)
    snapshot = serving(run_dir)
    versions, left_out = choose(snapshot, wanted.versions)
    before = _identities(run_dir, versions)
    run = _measure(snapshot, versions, file, wanted.timeout_s)
    after = _identities(run_dir, versions)
    subject = Subject(
        file=file.name,
        sha256=file.sha256,
        questions=len(file.questions),
        made_at=time.time(),
        release=snapshot.release,
        generation=snapshot.generation,
        k=wanted.k,
        versions=run.versions,
        left_out=left_out,
    )
    report = build(subject, run, before, after, _digests(before, wanted.run_dir))
    return _tell(report, wanted)


def choose(snapshot: Snapshot, names: str | None) -> tuple[list[VersionView], Mapping[str, str]]:
    """Return the versions to compare, and why others that are meant cannot be.

    Raises:
        UsageError: one has no such name, or there are fewer than two.
        RerankServerError: one that is named does not run.
    """
    if names is None:
        meant = [version for version in snapshot.versions if version.enabled]
    else:
        split = [name.strip() for name in names.split(",") if name.strip()]
        meant = [find(snapshot, name) for name in dict.fromkeys(split)]
    absent = {v.name: line(v).partition(": ")[2] for v in meant if v.state != "RUNNING"}
    if names is not None and absent:
        told = "; ".join(f"{name}: {reason}" for name, reason in absent.items())
        raise RerankServerError(f"cannot be compared now: {told}")
    versions = [version for version in meant if version.name not in absent]
    if len(versions) < 2:
        raise UsageError(
            f"compare --file needs two versions that run, and there is {len(versions) or 'none'}"
            "; see: rerank-server status"
        )
    return versions, absent


def _measure(
    snapshot: Snapshot, versions: Sequence[VersionView], file: QuestionFile, timeout_s: float
) -> Run:
    views = {version.name: version for version in versions}
    with (
        client(snapshot, timeout_s) as http,
        progress(sys.stderr, len(views) * len(file.questions)) as told,
    ):

        def put(version: str, query: str, docs: Sequence[str]) -> Answer:
            return ask(http, views[version], query, docs)

        patient = Patient(put, _wait)
        run = measure(file.questions, list(views), patient, told)
        run.waits = [waited.text(name) for name, waited in patient.waited.items()]
        return run


def _wait(answer: Answer, seconds: float) -> None:
    # Above the progress bar, where there is one. Ctrl-C ends the wait, and the run with it.
    told = f"{answer.version}: {answer.error}; asking again in {seconds:g} s"
    print(told, file=sys.stderr, flush=True)
    time.sleep(seconds)


def _tell(report: Report, wanted: Wanted) -> int:
    # Whichever of the two cannot be written, the other is.
    try:
        if wanted.as_json:
            print(json.dumps(as_json(report), indent=2, ensure_ascii=False))
        else:
            print("\n".join(render(report)))
        sys.stdout.flush()
    finally:
        if wanted.html is not None:
            _write_page(report, wanted.html)
    if report.is_interrupted:
        return _INTERRUPTED
    return 1 if report.failures or report.stopped else 0


def _write_page(report: Report, path: Path) -> None:
    from rerank_server.cli.evaluate.page import page

    write_whole(path.absolute(), page(report).encode(), _PAGE_MODE)
    print(f"report: {path}", file=sys.stderr)


def _identities(run_dir: RunDir, versions: Sequence[VersionView]) -> Mapping[str, Identity]:
    found = identities(read_json(run_dir.state) or {})
    return {v.name: found[v.name] for v in versions if v.name in found}


def _digests(before: Mapping[str, Identity], run_dir: Path | None) -> Mapping[str, str | None]:
    """Digest the model files of each version, where this user may read them."""
    from rerank_server.cli.subject import known

    try:
        models = known(None, None, run_dir).models_dir
    except (RerankServerError, OSError):
        return {}
    return {
        name: digest(models / identity.source, identity.model_files)
        for name, identity in before.items()
    }


def _check_writable(path: Path) -> None:
    """Refuse before anything is measured what could not be written after it.

    Raises:
        UsageError: there is no such folder, it may not be written to, or it is standard output.
    """
    if path == _STDOUT:
        raise UsageError("--html -: the page goes to a file, not to standard output; name one")
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"--html {path}: no file can be written there")
