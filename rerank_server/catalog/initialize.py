"""Makes a version directory out of files somebody brought: a folder, a zip, or what is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rerank_server.catalog import layout, unpack, version_code
from rerank_server.catalog.progress import Progress
from rerank_server.catalog.sources import Family, require_name
from rerank_server.catalog.staging import (
    disk_errors,
    is_complete,
    publish,
    require_space,
    staged,
    write_new,
)
from rerank_server.catalog.templates import family_of, template
from rerank_server.errors import CatalogError
from rerank_server.names import default_endpoint

_CODE = "rerank.py"


@dataclass(frozen=True, slots=True)
class InitResult:
    """A version directory, and what its owner still has to do."""

    directory: Path
    notes: tuple[str, ...]
    """Sentences about what was done or is missing."""
    config_lines: str
    """What to add to config.yaml."""


def initialize(
    name: str,
    models_dir: Path,
    progress: Progress,
    *,
    origin: Path | None = None,
    force: bool = False,
) -> InitResult:
    """Make the version `name` from a folder or zip of Hugging Face files.

    Without `origin`, files that lie in the version's directory already are put in order there; an
    absent or empty directory gets its folders and a template to start from. An own `rerank.py` is
    always kept. Blocks.

    Raises:
        CatalogError: the name is outside the rule, there is a model already (unless `force`), or
            the files make no version; nothing is changed then.
    """
    require_name(name)
    target = models_dir / name
    if origin is not None:
        if is_complete(target) and not force:
            raise CatalogError(f"{target} holds a model already; --force replaces it")
        notes = _from_origin(name, models_dir, origin, progress, force=force)
    elif _has_files(target):
        with disk_errors(target):
            notes = _in_place(target)
    else:
        with disk_errors(target):
            notes = _skeleton(target)
    return InitResult(target, tuple(notes), config_lines(name))


def config_lines(name: str) -> str:
    """Write what config.yaml must say for a version to run."""
    return (
        "versions:\n"
        f"  {name}:\n"
        "    enabled: true\n"
        '    description: ""\n'
        f'    endpoint: "{default_endpoint(name)}"\n'
    )


def _from_origin(
    name: str, models_dir: Path, origin: Path, progress: Progress, *, force: bool
) -> list[str]:
    if not origin.exists():
        raise CatalogError(f"{origin}: no such file or directory")
    with disk_errors(origin):
        found = _listed(origin) if origin.is_dir() else unpack.sizes(origin)
    places = layout.arrange(found)
    total = sum(found[path] for path in places)

    def report(done: int) -> None:
        progress.update(done, total, name)

    with staged(models_dir, name) as stage:
        require_space(models_dir, total)
        built = stage / "built"
        if origin.is_dir():
            _copy(origin, places, built, report)
        else:
            unpack.extract(origin, places, built, report)
        notes = [_add_code(built)]
        publish(built, models_dir / name, force=force)
    left_out = len(found) - len(places)
    return [*notes, f"{left_out} files no version needs were left out"] if left_out else notes


def _copy(
    origin: Path, places: Mapping[str, str], built: Path, report: Callable[[int], None]
) -> None:
    done = 0
    for path, place in places.items():
        target = built / place
        target.parent.mkdir(parents=True, exist_ok=True)
        # Through links: the hub's cache is made of them, and a version must hold files.
        shutil.copyfile(origin / path, target)
        done += target.stat().st_size
        report(done)


def _in_place(directory: Path) -> list[str]:
    """Move loose files to where they belong; whatever is no part of a version stays."""
    places = layout.arrange(_listed(directory))
    moved = {path: place for path, place in places.items() if path != place}
    taken = [place for place in moved.values() if (directory / place).exists()]
    if taken:
        raise CatalogError(f"{directory}: there are two files for {taken[0]}; remove one")
    note = _add_code(directory, family_from=directory / _source_of(places, "model/config.json"))
    for path, place in moved.items():
        source, target = directory / path, directory / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            shutil.copyfile(source, target)
            source.unlink()
        else:
            source.rename(target)
    _remove_emptied(directory, moved)
    return [note, f"{len(moved)} files were moved to their places"] if moved else [note]


def _source_of(places: Mapping[str, str], wanted: str) -> str:
    return next((path for path, place in places.items() if place == wanted), wanted)


def _remove_emptied(directory: Path, moved: Mapping[str, str]) -> None:
    """Remove the folders that held nothing but what was moved."""
    parents = {parent for path in moved for parent in (directory / path).parents}
    for parent in sorted(parents, key=lambda path: len(path.parts), reverse=True):
        is_inside = directory in parent.parents
        if is_inside and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def _skeleton(directory: Path) -> list[str]:
    note = _add_code(directory)
    for folder in ("model", "tokenizer"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    return [note, "put the weights into model/ and the tokenizer into tokenizer/"]


def _add_code(directory: Path, family_from: Path | None = None) -> str:
    """Make sure there is a usable `rerank.py`; says which.

    Raises:
        CatalogError: the owner's is not usable, or no template fits.
    """
    code = directory / _CODE
    if code.exists():
        problem = version_code.fault(code)
        if problem is not None:
            raise CatalogError(problem)
        return "its own rerank.py is used"
    family = family_of(family_from or directory / "model" / "config.json")
    text = template(family)
    directory.mkdir(parents=True, exist_ok=True)
    write_new(code, text)
    kind = "the general template" if family is Family.ANY else f"the {family.value} template"
    return f"rerank.py was made from {kind}"


def _has_files(directory: Path) -> bool:
    return directory.is_dir() and any(path.is_file() for path in directory.rglob("*"))


def _listed(directory: Path) -> Mapping[str, int]:
    """List the files below a folder, links to files included, with their sizes."""
    return {
        path.relative_to(directory).as_posix(): path.stat().st_size for path in _walk(directory)
    }


def _walk(directory: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(directory):
        names[:] = [name for name in names if not name.startswith(".")]
        yield from (Path(folder) / file for file in files)
