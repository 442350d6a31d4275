"""The verb that finds all that is wrong with a configuration and its versions beforehand."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from rerank_server.cli import changes, places
from rerank_server.core.snapshot import Snapshot
from rerank_server.errors import RerankServerError
from rerank_server.supervisor import requests
from rerank_server.supervisor.lock import who_runs
from rerank_server.supervisor.requests import Outcome
from rerank_server.supervisor.rundir import RunDir, check_socket_path

if TYPE_CHECKING:
    from rerank_server.core.wanted import WantedVersion
    from rerank_server.supervisor.desired import Desired

_PLAN_S = 30.0


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with a version or with the place."""

    version: str | None
    text: str

    def __str__(self) -> str:
        return self.text if self.version is None else f"{self.version}: {self.text}"


def check(
    *,
    config: places.ConfigOption = None,
    models_dir: places.ModelsDirOption = None,
    run_dir: places.RunDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was found as JSON.")] = False,
) -> int:
    """Find all that is wrong, before a server does.

    In the configuration; in the files of each enabled version: weights, rerank.py (read, never
    run), tokenizer (loaded), requirements; in the address and the run dir. If a server runs, says
    what a reload would do. Exit code 3 if the configuration is not valid, 1 for anything else.
    """
    from rerank_server.supervisor.desired import Overrides, desire

    run = places.run_dir(run_dir)
    running = who_runs(run)
    snapshot = places.read_snapshot(run, running.pid) if running is not None else None
    path = places.config_path_of(config, snapshot)
    given = places.started_with(running) if running is not None else places.NOTHING_GIVEN
    overrides = Overrides(
        models_dir.absolute() if models_dir is not None else given.models_dir,
        given.host,
        given.port,
    )
    desired = desire(path, overrides, generation=1)
    found = [*_of_versions(desired), *_of_place(desired, run, snapshot)]
    outcome = None
    if running is not None and snapshot is not None and str(path) == snapshot.config:
        try:
            request = requests.send(run, running, "plan")
            outcome = requests.wait_outcome(run, running, request, _PLAN_S)
        except RerankServerError as error:
            found.append(Problem(None, f"no plan of a reload: {error.message}"))
    if as_json:
        print(json.dumps(_json(path, found, outcome), indent=2, ensure_ascii=False))
    else:
        _show(path, desired, found, outcome)
    return 1 if found else 0


def _of_versions(desired: Desired) -> Iterator[Problem]:
    inspected: dict[tuple[str, str], Sequence[str]] = {}
    for version in desired.wanted.versions.values():
        if not version.enabled or version.cascade:
            continue
        wants_cpu_files = desired.config.versions[version.name].cpu_model == "model_cpu"
        key = (version.source, "model_cpu" if wants_cpu_files else "model")
        if key not in inspected:
            inspected[key] = _inspected(desired.models_dir / version.source, *key)
        yield from (Problem(version.name, text) for text in _problems(version, inspected[key]))


def _inspected(directory: Path, source: str, model: str) -> list[str]:
    from rerank_server.catalog.inspection import inspect_version
    from rerank_server.supervisor.version_files import find_environment_problem

    found = [problem.text for problem in inspect_version(source, directory, model)]
    # A failed install left its reason; that it is not installed the inspection says, too.
    reason = find_environment_problem(directory, source)
    return [*found, reason] if reason is not None and reason not in found else found


def _problems(version: WantedVersion, inspected: Sequence[str]) -> Sequence[str]:
    from rerank_server.supervisor.nvml import has_driver

    if inspected:
        return inspected
    if version.problem is not None:
        return [version.problem]
    if version.wish.device.startswith("cuda") and not has_driver(os.environ):
        return [f"device {version.wish.device}: this host has no GPU"]
    return []


def _of_place(desired: Desired, run: RunDir, snapshot: Snapshot | None) -> Iterator[Problem]:
    from rerank_server.cli.background import check_address

    for name in desired.wanted.versions:
        try:
            check_socket_path(run, name)
        except RerankServerError as error:
            yield Problem(None, error.message)
            break  # the same for each: the run dir is too deep
    front = desired.front
    if snapshot is not None and urlsplit(snapshot.url).port == front.port:
        return  # held by the very server that would go on with it
    try:
        check_address(front.host, front.port)
    except RerankServerError as error:
        yield Problem(None, error.message)


def _show(path: Path, desired: Desired, found: Sequence[Problem], outcome: Outcome | None) -> None:
    faulty = {problem.version for problem in found}
    print(path)
    for version in desired.wanted.versions.values():
        if not version.enabled:
            print(f"{version.name}: disabled")
        elif version.cascade:
            bad = ", ".join(s.version for s in version.cascade if s.version in faulty)
            print(f"{version.name}: {f'waits for {bad}' if bad else 'good'}")
        elif version.name not in faulty:
            print(f"{version.name}: good")
    if outcome is not None:
        print(f"a reload now: {'; '.join(changes.lines(outcome)) or 'nothing to do'}")
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)


def _json(path: Path, found: Sequence[Problem], outcome: Outcome | None) -> dict[str, object]:
    plan = None
    if outcome is not None:
        plan = {
            "started": outcome.started,
            "replaced": outcome.replaced,
            "stopped": outcome.stopped,
            "kept": outcome.kept,
        }
    problems = [{"version": problem.version, "text": problem.text} for problem in found]
    return {"config": str(path), "problems": problems, "plan": plan}
