"""The verb that makes a faster variant of a version for CPUs, once it has proved itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rerank_server.cli import places
from rerank_server.cli.table import table
from rerank_server.errors import UsageError

if TYPE_CHECKING:
    from rerank_server.catalog.optimized import Optimized
    from rerank_server.cli.subject import Subject

_HEADER = (
    "variant",
    "speed-up",
    "nDCG@10",
    "Spearman",
    "top-10 overlap",
    "max deviation",
    "by neighbours",
    "size",
    "",
)


def optimize(
    *,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Which one.")],
    texts: Annotated[
        Path | None,
        typer.Option(
            "--texts", metavar="FILE", help="Your own documents, one a line; int8 is calibrated."
        ),
    ] = None,
    labelled: Annotated[
        Path | None,
        typer.Option(
            "--labelled",
            metavar="FILE",
            help='To judge on: a line {"query": .., "docs": [..], "relevant": [0]} each.',
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace model_cpu/, which is kept beside it.")
    ] = False,
    config: places.ConfigOption = None,
    models_dir: places.ModelsDirOption = None,
    run_dir: places.RunDirOption = None,
) -> int:
    """Make model_cpu/, a faster variant for CPUs.

    Writes variants in half precision and int8, judges each against the original, and installs the
    fastest that loses no more than it may; takes minutes. Exit code 1 if all were refused.
    """
    from rerank_server.catalog import stages
    from rerank_server.catalog.optimized import optimize as made
    from rerank_server.cli.subject import known, subject

    given = known(config, models_dir, run_dir)
    chosen = given.names(version)
    if len(chosen) > 1:
        hint = f"name one of its stages: {', '.join(chosen)}"
        raise UsageError(f"{version} is a cascade and has no model; {hint}")
    (name,) = chosen
    found = subject(given, name, model="model")
    command = _command(found, texts, labelled)
    with stages.stages_on(name) as shown:
        result = made(found.directory, command, found.environment, shown, force=force)
    print("\n".join(render(result.report)))
    return _conclude(found, result, places.options_of(places.run_dir(run_dir)))


def render(report: Mapping[str, object]) -> list[str]:
    """Return the report as lines: a row a variant, then why any was refused, then what on."""
    variants = _mapping(report["variants"])
    original = "-"
    rows = []
    for name, value in variants.items():
        variant = _mapping(value)
        quality = _mapping(variant["quality"])
        original = _figure(quality["ndcg_original"], ".4f")
        rows.append(
            [
                name,
                _figure(variant.get("speed_up"), ".1f", " x"),
                _figure(quality["ndcg"], ".4f"),
                _figure(quality["spearman"], ".4f"),
                _figure(quality["top_overlap"], ".3f"),
                _figure(quality["max_deviation"], ".2g"),
                _figure(variant["neighbours"], ".2g"),
                f"{float(str(variant['bytes'])) / 1e6:.1f} MB",
                "refused" if variant["faults"] else "passed",
            ]
        )
    rows.insert(0, ["original", "1.0 x", original, *["-"] * 6])
    return [*table([_HEADER, *rows]), *_faults(variants), _basis(report)]


def _faults(variants: Mapping[str, object]) -> Iterator[str]:
    for name, value in variants.items():
        faults = _mapping(value)["faults"]
        assert isinstance(faults, list)
        yield from (f"{name}: {fault}" for fault in faults)


def _basis(report: Mapping[str, object]) -> str:
    calibrated = report["calibrated_on"]
    return (
        f"judged on {report['requests']} requests, {report['pairs']} pairs; "
        + (f"calibrated on {calibrated} requests; " if calibrated else "not calibrated; ")
        + f"{report['threads']} threads, max_length {report['max_length']}"
    )


def _conclude(found: Subject, result: Optimized, options: str) -> int:
    if result.installed is None:
        print(f"error: {found.name}: every variant was refused; nothing changed", file=sys.stderr)
        return 1
    print(f"installed: {result.installed} in {found.directory / 'model_cpu'}")
    change = f"set versions.{found.name}.cpu_model: model_cpu in config.yaml, then "
    is_set = found.version.cpu_model == "model_cpu"
    print(f"next: {'' if is_set else change}run: rerank-server reload{options}")
    return 0


def _command(found: Subject, texts: Path | None, labelled: Path | None) -> list[str]:
    words: dict[str, object] = {"--max-length": found.inference.max_length}
    if found.version.threads is not None:
        words["--threads"] = found.version.threads
    if texts is not None:
        words["--texts"] = texts.absolute()
    if labelled is not None:
        words["--labelled"] = labelled.absolute()
    command = [str(found.python), "-I", "-m", "rerank_workers.optimize", str(found.directory)]
    return [*command, *(word for pair in words.items() for word in map(str, pair))]


def _figure(value: object, form: str, unit: str = "") -> str:
    return "-" if value is None else format(float(str(value)), form) + unit


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, dict)
    return value
