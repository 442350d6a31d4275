"""Writes the systemd units with the paths of this installation: `make install-systemd`.

Run by the Python of the environment that rerank-server is installed in:
    sudo .venv/bin/python systemd/install.py --config /opt/bge-rerankers/config.yaml
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import pwd
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import rerank_server
from rerank_server.config import Config
from rerank_server.errors import ConfigError
from rerank_server.supervisor.desired import read_config

HERE = Path(__file__).parent
UNIT_DIR = Path("/etc/systemd/system")
# What the units say as they are shipped, and this replaces.
SHIPPED_COMMAND = "/opt/rerank-server/.venv/bin/rerank-server"
SHIPPED_CONFIG = "/opt/bge-rerankers/config.yaml"
SHIPPED_USER = "DynamicUser=yes"
SHIPPED_ADDRESS = "127.0.0.1:8000"


class InstallError(Exception):
    """What keeps the units from being written, in words for the administrator."""


def main() -> int:
    """Write both units; return the exit code."""
    options = parse_arguments()
    try:
        written = install(options.config, options.user, options.destdir, options.unit_dir)
    except (InstallError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    for path in written:
        print(f"wrote {path}")
    print("Next: systemctl daemon-reload && systemctl enable --now rerank-server")
    print("Or, for systemd to hold the port: systemctl enable --now rerank-server.socket")
    return 0


def parse_arguments() -> argparse.Namespace:
    """Return the arguments as given, with their defaults."""
    parser = argparse.ArgumentParser(description="Write the systemd units of rerank-server.")
    parser.add_argument("--config", type=Path, default=Path(SHIPPED_CONFIG), metavar="FILE")
    parser.add_argument(
        "--user", help="run as this user instead of one that systemd makes for the service"
    )
    parser.add_argument(
        "--destdir",
        type=Path,
        default=Path(os.environ.get("DESTDIR") or "/"),
        metavar="DIR",
        help="write below this directory, checking nothing, as packagers do [env: DESTDIR]",
    )
    parser.add_argument("--unit-dir", type=Path, default=UNIT_DIR, metavar="DIR")
    return parser.parse_args()


def install(config_path: Path, user: str | None, destdir: Path, unit_dir: Path) -> list[Path]:
    """Write the service and the socket unit; return their paths.

    Raises:
        InstallError: the units would not work.
        ConfigError: the config is not valid.
        OSError: they cannot be written.
    """
    config_path = config_path.absolute()
    command = Path(sys.executable).parent / "rerank-server"
    if not os.access(command, os.X_OK):
        raise InstallError(f"{command} does not exist; install rerank-server into this environment")
    config, _ = read_config(config_path)
    if destdir == Path("/"):
        check_user(user)
        if user is None:
            check_readable(command, config_path, config)
    directory = destdir / unit_dir.relative_to("/")
    directory.mkdir(parents=True, exist_ok=True)
    units = {
        "rerank-server.service": service_unit(command, config_path, user),
        "rerank-server.socket": socket_unit(config),
    }
    for name, text in units.items():
        (directory / name).write_text(text)
    return [directory / name for name in units]


def service_unit(command: Path, config: Path, user: str | None) -> str:
    """Return the service unit for these paths; without a user, systemd makes one."""
    text = (HERE / "rerank-server.service").read_text()
    for shipped, own in ((SHIPPED_COMMAND, command), (SHIPPED_CONFIG, config)):
        text = replaced(text, shipped, quoted(str(own)))
    return text if user is None else replaced(text, SHIPPED_USER, f"User={user}")


def socket_unit(config: Config) -> str:
    """Return the socket unit for the address the config names; port 0 leaves the usual one."""
    text = (HERE / "rerank-server.socket").read_text()
    host, port = config.server.host, config.server.port
    if port == 0:
        return text
    address = ipaddress.ip_address(socket.getaddrinfo(host, port)[0][4][0])
    shown = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    return replaced(text, SHIPPED_ADDRESS, shown)


def quoted(word: str) -> str:
    """Return a word of an Exec line that systemd reads as exactly this; see systemd.service(5)."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if any(c in word for c in " \t'\"\\;") else word


def replaced(text: str, shipped: str, own: str) -> str:
    """Return the unit with one setting as it must be here."""
    if shipped not in text:
        raise InstallError(f"the unit in {HERE} was edited: it does not say {shipped!r} any more")
    return text.replace(shipped, own)


def check_user(user: str | None) -> None:
    """Refuse a user this host does not know."""
    try:
        pwd.getpwnam(user or "root")
    except KeyError:
        raise InstallError(f"there is no user {user!r} on this host") from None


def check_readable(command: Path, config_path: Path, config: Config) -> None:
    """Refuse files that a user of nobody's group cannot read: the service could not start."""
    models = config.models_path(config_path.parent.resolve())
    sources = {config.source_of(name) for name, one in config.versions.items() if one.enabled}
    paths = [
        *(command, Path(sys.executable).resolve(), Path(rerank_server.__file__), config_path),
        *(path for source in sources for path in needed(models / source)),
    ]
    for path in paths:
        for part in (path, *path.parents):
            mode = part.stat().st_mode
            wanted = stat.S_IXOTH if part.is_dir() else stat.S_IROTH
            if not mode & wanted:
                raise InstallError(
                    f"{path} cannot be read by the user systemd makes for the service: {part} is "
                    f"not open to all. Open it (chmod o+rX), or run the service as its owner: "
                    f"--user {pwd.getpwuid(part.stat().st_uid).pw_name}"
                )


def needed(version: Path) -> Iterator[Path]:
    """Yield the files a version's worker reads, as far as they are there."""
    for pattern in ("rerank.py", "model*/*", "tokenizer/*", ".venv/bin/python"):
        yield from version.glob(pattern)


if __name__ == "__main__":
    sys.exit(main())
