"""Where a server keeps its files: the run dir (dies with it) and the state dir (outlives it)."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rerank_server.errors import RunDirError

log = logging.getLogger(__name__)

RUN_DIR_VARIABLES = ("RERANK_SERVER_RUN_DIR", "RUNTIME_DIRECTORY")
STATE_DIR_VARIABLES = ("RERANK_SERVER_STATE_DIR", "STATE_DIRECTORY")
_MODE = 0o700
_SOCKET_PATH_BYTES = 107  # sun_path is 108 bytes with its closing NUL: unix(7)
_LONGEST_INSTANCE_NUMBER = ".99999"


@dataclass(frozen=True, slots=True)
class RunDir:
    """The paths inside one server's run dir."""

    path: Path

    @property
    def lock(self) -> Path:
        """Held under flock by the supervisor while it lives."""
        return self.path / "lock"

    @property
    def pid(self) -> Path:
        """Pid and start time of the supervisor."""
        return self.path / "pid"

    @property
    def routes(self) -> Path:
        """What the gateway may route to."""
        return self.path / "routes.json"

    @property
    def state(self) -> Path:
        """What `status` and `/metrics` read."""
        return self.path / "state.json"

    @property
    def requests(self) -> Path:
        """Directory of what the CLI asks for."""
        return self.path / "requests"

    @property
    def outcomes(self) -> Path:
        """Directory of what came of each request."""
        return self.path / "outcomes"

    @property
    def sockets(self) -> Path:
        """Directory of the workers' Unix sockets."""
        return self.path / "w"

    @property
    def metrics(self) -> Path:
        """Directory of the gateway's own counters."""
        return self.path / "metrics"

    @property
    def gateway(self) -> Path:
        """Directory of the gateway's own small files."""
        return self.path / "gateway"

    def socket(self, instance: str) -> Path:
        """Return the path of one worker's Unix socket."""
        return self.sockets / f"{instance}.sock"


@dataclass(frozen=True, slots=True)
class StateDir:
    """The paths inside one server's state dir."""

    path: Path

    @property
    def events(self) -> Path:
        """Every state change, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def logs(self) -> Path:
        """Directory of the logs."""
        return self.path / "logs"

    @property
    def memory(self) -> Path:
        """What processes were seen to take of memory."""
        return self.path / "memory.json"

    @property
    def digests(self) -> Path:
        """What the contents of versions' files are."""
        return self.path / "digests.json"

    @property
    def configs(self) -> Path:
        """Directory of the configs that were accepted."""
        return self.path / "configs"

    @property
    def by_config(self) -> Path:
        """Directory of what is kept for each config file."""
        return self.path / "by-config"

    def engine(self, version: str) -> Path:
        """Return where a version's worker remembers which engine it chose."""
        return self.path / "engines" / f"{version}.json"

    def log(self, name: str) -> Path:
        """Return the log of a version, of the `supervisor` or of the `gateway`."""
        return self.logs / f"{name}.log"


def find_run_dir(flag: Path | None, environ: Mapping[str, str], uid: int) -> RunDir:
    """Choose the run dir: the flag, the environment, then the place usual for this user.

    Touches nothing on disk.
    """
    named = flag or _from_environment(RUN_DIR_VARIABLES, environ)
    if named is not None:
        return RunDir(named.absolute())
    if uid == 0:
        return RunDir(Path("/run/rerank-server"))
    session = environ.get("XDG_RUNTIME_DIR")
    if session:
        return RunDir(Path(session).absolute() / "rerank-server")
    return RunDir(Path(f"/tmp/rerank-server-{uid}"))


def find_state_dir(flag: Path | None, environ: Mapping[str, str], uid: int) -> StateDir:
    """Choose the state dir: the flag, the environment, then the place usual for this user.

    Touches nothing on disk.
    """
    named = flag or _from_environment(STATE_DIR_VARIABLES, environ)
    if named is not None:
        return StateDir(named.absolute())
    if uid == 0:
        return StateDir(Path("/var/lib/rerank-server"))
    home = environ.get("HOME")
    return StateDir((Path(home) if home else Path.home()) / ".local/state/rerank-server")


def prepare_run_dir(run: RunDir, uid: int) -> None:
    """Make the run dir and its directories, for this user alone. Idempotent.

    Raises:
        RunDirError: it cannot be made, or somebody else could have laid it out.
    """
    _make(run.path)
    check_owner(run, uid)
    for directory in (run.requests, run.outcomes, run.sockets, run.metrics, run.gateway):
        _make(directory)


def prepare_state_dir(state: StateDir) -> None:
    """Make the state dir and its directories, for this user alone. Idempotent.

    Raises:
        RunDirError: it cannot be made.
    """
    _make(state.path)
    _make(state.logs)


def check_owner(run: RunDir, uid: int) -> None:
    """Refuse a run dir that another user could have put there.

    Anybody may make a directory or a link in /tmp, so there the name alone proves nothing.
    A run dir that does not exist, or lies where only its owner may write, passes.

    Raises:
        RunDirError: it is a link, no directory, or belongs to somebody else.
    """
    try:
        found = run.path.lstat()
        parent = run.path.parent.stat()
    except FileNotFoundError:
        return
    if not run.path.is_dir():
        raise RunDirError(f"{run.path} is not a directory; choose another with --run-dir")
    if not parent.st_mode & stat.S_IWOTH:
        return
    if stat.S_ISLNK(found.st_mode):
        raise RunDirError(f"{run.path} is a link, and anybody could have made it; remove it")
    if found.st_uid != uid:
        raise RunDirError(
            f"{run.path} belongs to uid {found.st_uid}, not to uid {uid}; "
            "choose another with --run-dir"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RunDirError(f"{run.path} may be written by others; run: chmod 700 {run.path}")


def check_socket_path(run: RunDir, version: str) -> None:
    """Refuse a run dir too deep for the sockets of this version's workers.

    Raises:
        RunDirError: the kernel could not take the socket's path.
    """
    longest = os.fsencode(run.socket(version + _LONGEST_INSTANCE_NUMBER))
    excess = len(longest) - _SOCKET_PATH_BYTES
    if excess > 0:
        raise RunDirError(
            f"{run.path} is {excess} bytes too long for the sockets of {version}; "
            "choose a shorter one with --run-dir"
        )


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file so that every reader sees the old or the new content, never a part.

    The file gets exactly these permissions, whatever the umask. Not synced to disk. One thread
    of a process at a time may write the same path.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = str(path)  # a write's error names no file
        raise


def write_json(path: Path, value: Mapping[str, object], mode: int = 0o600) -> None:
    """Replace a file by one JSON object; see `write_whole`."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_whole(path, text.encode() + b"\n", mode)


def clear_away(path: Path) -> None:
    """Remove a file, or a directory that somebody put in its place, if there is one."""
    if path.is_dir() and not path.is_symlink():
        log.warning("a stray directory is removed", extra={"directory": str(path)})
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_json(path: Path) -> Mapping[str, object] | None:
    """Read the JSON object in a file, or None when there is no such file.

    Raises:
        RunDirError: it cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunDirError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunDirError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunDirError(f"{path}: not a JSON object")
    return value


def _from_environment(variables: tuple[str, ...], environ: Mapping[str, str]) -> Path | None:
    for variable in variables:
        # systemd joins several directories with a colon: systemd.exec(5), RuntimeDirectory=.
        first = environ.get(variable, "").split(":")[0]
        if first:
            return Path(first)
    return None


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirError(f"{directory}: cannot be made: {error.strerror}") from error
