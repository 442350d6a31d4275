"""Rules between keys that no type can express: names, references, paths, limits that must agree."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from rerank_server.names import (
    ENDPOINT_LENGTH,
    NONE,
    OWN_PATHS,
    VERSION_NAME_LENGTH,
    default_endpoint,
    is_endpoint,
    is_version_name,
    nearest,
)
from rerank_server.yaml_text import Key, shown

if TYPE_CHECKING:
    from rerank_server.config import Config

Fault = tuple[Key, str]
"""A key and what is wrong with it."""

NARROWED = (
    "request_timeout_s",
    "max_body_bytes",
    "max_docs",
    "max_doc_chars",
    "max_concurrent_requests",
    "max_in_flight_bytes",
)
"""Limits of the server that a version may narrow for its own requests."""

MOST_LISTED = 12
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MANAGED = {
    "CUDA_VISIBLE_DEVICES": "the server gives each worker its own card; use the key device",
    "MKL_NUM_THREADS": "the worker derives it; use the key threads",
    "OPENBLAS_NUM_THREADS": "the worker derives it; use the key threads",
    "RAYON_NUM_THREADS": "the worker derives it; use the key threads",
    "HF_HUB_OFFLINE": "workers never use the network for models",
    "TRANSFORMERS_OFFLINE": "workers never use the network for models",
    "NOTIFY_SOCKET": "it belongs to the service manager and the server",
    "WATCHDOG_PID": "it belongs to the service manager and the server",
    "WATCHDOG_USEC": "it belongs to the service manager and the server",
    "LISTEN_FDS": "it belongs to the service manager and the server",
    "LISTEN_PID": "it belongs to the service manager and the server",
    "LISTEN_FDNAMES": "it belongs to the service manager and the server",
}
"""Variables whose value the worker's launch decides, and why.

OMP_NUM_THREADS is not among them: the worker takes it where `threads` is not set. LD_PRELOAD and
LD_LIBRARY_PATH are the operator's to set (allocators, OpenMP runtimes): they reach only that
version's process, whose code is trusted anyway.
"""


def faults(config: Config) -> Iterator[Fault]:
    """Yield what is wrong with a config whose every key has the right type and range."""
    yield from _version_names(config)
    yield from _default_version(config)
    yield from _endpoints(config)
    yield from _sources(config)
    yield from _fallbacks(config)
    yield from _last_resort(config)
    yield from _environments(config)
    yield from _batches(config)
    yield from _server(config)
    yield from _limits(config)
    yield from _models_dir(config)


def _version_names(config: Config) -> Iterator[Fault]:
    if not config.versions:
        yield ("versions",), "no version is listed; add at least one, such as v2-m3"
    for name in config.versions:
        if not is_version_name(name):
            yield ("versions", name), _bad_name(name)


def _bad_name(name: str) -> str:
    near = re.sub(r"[\s_]+", "-", name.strip().lower())
    hint = f"; did you mean '{near}'?" if is_version_name(near) else ""
    return (
        f"{shown(name)} is not a version name: v and a number, then lower-case words after '-' "
        f"(v1, v2-m3, v2.5-gemma2), at most {VERSION_NAME_LENGTH} characters{hint}"
    )


def _default_version(config: Config) -> Iterator[Fault]:
    name = config.default_version
    enabled = [known for known, version in config.versions.items() if version.enabled]
    if name not in config.versions:
        if config.versions:
            yield ("default_version",), _no_such_version(name, config.versions)
    elif name not in enabled:
        other = f" or choose one that is: {_listed(enabled)}" if enabled else ""
        yield ("default_version",), f"{shown(name)} is not enabled; enable it{other}"


def _no_such_version(name: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    hint = f"did you mean '{near}'?" if near else f"known: {_listed(known)}"
    return f"{shown(name)} is not a version here; {hint}"


def _listed(names: Collection[str], joint: str = ", ") -> str:
    """Return the names as a message lists them: a few, even if there are thousands."""
    few = list(names)[:MOST_LISTED]
    return joint.join(few if len(names) <= MOST_LISTED else [*few, "…"])


def _endpoints(config: Config) -> Iterator[Fault]:
    owners = {default_endpoint(name): name for name in config.versions}
    for name, version in config.versions.items():
        if version.endpoint is None:
            continue
        if text := _bad_endpoint(version.endpoint, name, owners):
            yield ("versions", name, "endpoint"), f"{shown(version.endpoint)} {text}"
        owners.setdefault(version.endpoint, name)


def _bad_endpoint(path: str, name: str, owners: Mapping[str, str]) -> str | None:
    """Say what is wrong with the endpoint of `name`; `owners` maps paths to versions."""
    if not is_endpoint(path):
        near = "/" + path.strip("/ ")
        hint = f"; did you mean '{near}'?" if is_endpoint(near) else ""
        return (
            "is not a path: '/' before each part, letters, digits and . _ ~ - only, no '/' at "
            f"the end, at most {ENDPOINT_LENGTH} characters{hint}"
        )
    parts = path.split("/")[1:]
    if parts == ["rerank"] or (parts[0] in OWN_PATHS and parts[0] != "rerank"):
        return f"is reserved: the server answers /{parts[0]} itself; use a path like /rerank/NAME"
    if owners.get(path, name) != name:
        return f"is the path of '{owners[path]}'; choose another"
    for above, part in zip(accumulate(parts, "{}/{}".format), parts[1:], strict=False):
        if f"/{above}" in owners and part in OWN_PATHS:
            return f"is reserved: '{owners['/' + above]}' answers it; choose another"
    return None


def _sources(config: Config) -> Iterator[Fault]:
    for name, version in config.versions.items():
        source, key = version.source, ("versions", name, "source")
        if source is None:
            continue
        if not is_version_name(source):
            yield key, _bad_name(source)
        elif source == name:
            yield key, f"{shown(source)} is this version itself; remove the key"
        elif source in config.versions and config.versions[source].source is not None:
            origin = config.source_of(source)
            yield key, f"'{source}' takes its files from '{origin}' itself; write that"


def _fallbacks(config: Config) -> Iterator[Fault]:
    following: dict[str, str] = {}
    for name, version in config.versions.items():
        target, key = version.fallback, ("versions", name, "fallback")
        if target is None or target == NONE:
            continue
        if target not in config.versions:
            yield key, _no_such_version(target, [*config.versions, NONE])
        elif target == name:
            yield key, f"{shown(target)} is this version itself; write {NONE} for no fallback"
        else:
            following[name] = target
    for cycle in _cycles(following):
        way = _listed([*cycle, cycle[0]], " -> ")
        text = f"{shown(cycle[1])} closes a circle: {way}; let one of them end it"
        yield ("versions", cycle[0], "fallback"), text


def _cycles(following: dict[str, str]) -> Iterator[list[str]]:
    """Yield each cycle once, its first member in config order first."""
    walked: set[str] = set()
    order = {name: place for place, name in enumerate(following)}
    for start in order:
        path: dict[str, None] = {}
        step: str | None = start
        while step is not None and step not in walked:
            walked.add(step)
            path[step] = None
            step = following.get(step)
        if step in path:
            names = list(path)
            cycle = names[names.index(str(step)) :]
            first = cycle.index(min(cycle, key=order.__getitem__))
            yield cycle[first:] + cycle[:first]


def _last_resort(config: Config) -> Iterator[Fault]:
    name = config.last_resort
    if name is not None and name != NONE and name not in config.versions:
        yield ("last_resort",), _no_such_version(name, [*config.versions, NONE])


def _environments(config: Config) -> Iterator[Fault]:
    for name, version in config.versions.items():
        for variable in version.env:
            if text := _bad_variable(variable):
                yield ("versions", name, "env", variable), text


def _bad_variable(name: str) -> str | None:
    if _VARIABLE.fullmatch(name) is None:
        return f"{shown(name)} is not a variable name: letters, digits and _, no digit first"
    if name.startswith("PYTHON"):
        return "cannot be set: workers run Python in isolated mode, which ignores it; remove it"
    if name in _MANAGED:
        return f"cannot be set: {_MANAGED[name]}; remove it"
    return None


def _batches(config: Config) -> Iterator[Fault]:
    shared = config.global_config
    if shared.max_length > shared.max_batch_tokens:
        yield ("global_config", "max_length"), _no_room(shared.max_length, shared.max_batch_tokens)
    for name, version in config.versions.items():
        if version.max_length is None and version.max_batch_tokens is None:
            continue
        own = config.inference_of(name)
        if own.max_length > own.max_batch_tokens:
            key = "max_batch_tokens" if version.max_length is None else "max_length"
            yield ("versions", name, key), _no_room(own.max_length, own.max_batch_tokens)


def _no_room(max_length: int, max_batch_tokens: int) -> str:
    return (
        f"max_length {max_length} is more than max_batch_tokens {max_batch_tokens}: a pair that "
        "long would fit in no batch; raise max_batch_tokens or lower max_length"
    )


def _server(config: Config) -> Iterator[Fault]:
    server = config.server
    if not _is_host(server.host):
        hint = "; write the port under server.port" if re.search(r":[0-9]+$", server.host) else ""
        text = f"{shown(server.host)} is not an IP address or a host name{hint}"
        yield ("server", "host"), text
    if server.drain_timeout_s < server.request_timeout_s:
        yield (
            ("server", "drain_timeout_s"),
            f"{server.drain_timeout_s:g} is less than request_timeout_s "
            f"{server.request_timeout_s:g}: requests would be cut off; raise it or lower the other",
        )


def _limits(config: Config) -> Iterator[Fault]:
    server = config.server
    if server.max_in_flight_bytes < server.max_body_bytes:
        yield (
            ("server", "max_in_flight_bytes"),
            f"{server.max_in_flight_bytes} is less than max_body_bytes {server.max_body_bytes}: "
            "the largest body would never be taken; raise it or lower the other",
        )
    for name, version in config.versions.items():
        for key in NARROWED:
            own, shared = getattr(version, key), getattr(server, key)
            if own is not None and own > shared:
                text = f"{own} is more than server.{key} {shared}, which holds for every request"
                yield ("versions", name, key), f"{text}; lower it or raise the other"


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # All digits and dots is a mistyped address, not a name.
        return _HOST_NAME.fullmatch(host) is not None and not re.fullmatch(r"[0-9.]+", host)
    return True


def _models_dir(config: Config) -> Iterator[Fault]:
    if not config.models_dir:
        yield ("models_dir",), "is empty; write . for the directory of this file"
    elif config.models_dir.startswith("~"):
        text = f"{shown(config.models_dir)}: '~' is not expanded here; write the whole path"
        yield ("models_dir",), text
