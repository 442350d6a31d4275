"""The verb that proves versions on a small fixed set of pairs, without a server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rerank_server.cli import places
from rerank_server.cli.table import pad, width
from rerank_server.errors import RerankServerError

if TYPE_CHECKING:
    from rerank_server.cli.subject import Known, Subject

_LOADS = 3
"""A version's model is loaded up to so many times: as it runs, its other folder, in fp32."""
_VERDICTS = {True: "ok", False: "NOT OK", None: "-"}
_WARNING = "WARN"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool | None
    """None: it does not apply."""
    text: str
    figures: Mapping[str, object]
    warns: bool = False
    """It is right, and yet somebody should read the text."""

    @property
    def verdict(self) -> str:
        """The one word for it."""
        return _WARNING if self.warns else _VERDICTS[self.ok]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of one version."""

    version: str
    model: str | None = None
    checks: Sequence[Check] = ()
    settings: Mapping[str, str] | None = None
    error: str | None = None
    """Why nothing could be looked at."""

    @property
    def is_well(self) -> bool:
        """Whether nothing was found wrong."""
        return self.error is None and all(check.ok is not False for check in self.checks)

    @property
    def verdict(self) -> str:
        """What is said of the version as a whole."""
        if not self.is_well:
            return _VERDICTS[False]
        warns = any(check.warns for check in self.checks)
        return "ok, with a warning" if warns else _VERDICTS[True]


def verify(
    *,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="Which one; default: each enabled one."),
    ] = None,
    retime: Annotated[
        bool,
        typer.Option("--retime", help="Time the engines anew; the next start takes the winner."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was found as JSON.")] = False,
    config: places.ConfigOption = None,
    models_dir: places.ModelsDirOption = None,
    run_dir: places.RunDirOption = None,
    state_dir: places.StateDirOption = None,
) -> int:
    """Prove that versions score as they should.

    Loads each as the server would, scores a small fixed set, and looks at order, finiteness,
    repeatability, whether neighbours in a batch matter, agreement of model/ with model_cpu/, and
    distance from fp32; then prints the effective settings. A warning leaves the exit code at 0.
    No server need run.
    """
    from rerank_server.cli.subject import known

    state = places.state_dir_of(state_dir, places.run_dir(run_dir))
    given = known(config, models_dir, run_dir)
    found = []
    for name in given.names(version):
        store = state.engine(name)
        if retime:
            store.unlink(missing_ok=True)
        result = _verified(given, name, store)
        found.append(result)
        if not as_json:
            print("\n".join(render(result)), flush=True)
    if as_json:
        shown = {"versions": [_json(result) for result in found]}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    return 0 if all(result.is_well for result in found) else 1


def render(result: Verified) -> list[str]:
    """Return what was found of a version as lines: verdicts, then settings."""
    where = f" ({result.model})" if result.model else ""
    lines = [f"{result.version}{where}: {result.verdict}"]
    if result.error is not None:
        return [*lines, f"  {result.error}"]
    settings = result.settings or {}
    names = [*(check.name for check in result.checks), *settings]
    columns = max(width(name) for name in names) if names else 0
    for check in result.checks:
        verdict = pad(check.verdict, len(_VERDICTS[False]))
        lines.append(f"  {pad(check.name, columns)}  {verdict}  {check.text}")
    lines += [f"  {pad(name, columns)}  {value}" for name, value in settings.items()]
    return lines


def _verified(given: Known, name: str, store: Path) -> Verified:
    from rerank_server.cli.subject import subject

    try:
        found = subject(given, name)
        return _read(found, _run(found, store))
    except RerankServerError as error:
        return Verified(name, error=error.message)


def _run(found: Subject, store: Path) -> str:
    """Run the check in the version's own environment and return what it wrote.

    Raises:
        RerankServerError: it wrote nothing that could be read.
    """
    deadline_s = _LOADS * found.version.start_timeout_s + found.version.max_batch_s
    try:
        done = subprocess.run(
            _command(found, store),
            cwd=found.directory,
            env=dict(found.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RerankServerError(f"not done after {deadline_s:g} s") from error
    if not done.stdout.strip():
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        raise RerankServerError(f"ended with code {done.returncode}: {last.strip() or 'no word'}")
    return done.stdout


def _command(found: Subject, store: Path) -> list[str]:
    inference = found.inference
    words: dict[str, object] = {
        "--directory": found.directory,
        "--version": found.name,
        "--model": found.model,
        "--device": found.device,
        "--batch-size": inference.batch_size,
        "--max-length": inference.max_length,
        "--max-batch-tokens": inference.max_batch_tokens,
        "--engine-store": store,
    }
    if found.version.threads is not None:
        words["--threads"] = found.version.threads
    command = [str(found.python), "-I", "-m", "rerank_workers.verify"]
    command += [word for pair in words.items() for word in map(str, pair)]
    return [*command, "--fp16" if inference.use_fp16 else "--no-fp16"]


def _read(found: Subject, text: str) -> Verified:
    try:
        said = json.loads(text)
        if "error" in said:
            return Verified(found.name, found.model, error=str(said["error"]))
        checks = [Check(**check) for check in said["checks"]]
        settings = {str(key): str(value) for key, value in said["settings"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RerankServerError(f"not understood: {text[:80]}") from error
    return Verified(found.name, found.model, checks, settings)


def _json(result: Verified) -> Mapping[str, object]:
    return {
        "version": result.version,
        "ok": result.is_well,
        "model": result.model,
        "checks": [
            {
                "name": each.name,
                "ok": each.ok,
                "text": each.text,
                "figures": dict(each.figures),
                "warns": each.warns,
            }
            for each in result.checks
        ],
        "settings": dict(result.settings or {}),
        "error": result.error,
    }
