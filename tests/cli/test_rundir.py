from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from rerank_server.errors import RunDirError
from rerank_server.supervisor import rundir
from rerank_server.supervisor.rundir import RunDir, StateDir

EVERYTHING = {
    "RERANK_SERVER_RUN_DIR": "/own/run",
    "RUNTIME_DIRECTORY": "/run/unit",
    "XDG_RUNTIME_DIR": "/run/user/7",
    "RERANK_SERVER_STATE_DIR": "/own/state",
    "STATE_DIRECTORY": "/var/lib/unit",
    "HOME": "/home/u",
}


def without(*names: str) -> Mapping[str, str]:
    return {name: value for name, value in EVERYTHING.items() if name not in names}


@pytest.mark.parametrize(
    ("flag", "environ", "uid", "expected"),
    [
        ("/flag", EVERYTHING, 7, "/flag"),
        (None, EVERYTHING, 7, "/own/run"),
        (None, EVERYTHING, 0, "/own/run"),
        (None, without("RERANK_SERVER_RUN_DIR"), 7, "/run/unit"),
        (None, {"RUNTIME_DIRECTORY": "/run/a:/run/b"}, 7, "/run/a"),
        (None, {"RERANK_SERVER_RUN_DIR": "", "RUNTIME_DIRECTORY": "/run/a"}, 7, "/run/a"),
        (None, {"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run/rerank-server"),
        (None, {"XDG_RUNTIME_DIR": "/run/user/7"}, 7, "/run/user/7/rerank-server"),
        (None, {}, 7, "/tmp/rerank-server-7"),
    ],
)
def test_run_dir_is_the_first_of_flag_environment_and_the_users_usual_place(
    flag: str | None, environ: Mapping[str, str], uid: int, expected: str
) -> None:
    found = rundir.find_run_dir(Path(flag) if flag else None, environ, uid)

    assert found == RunDir(Path(expected))


@pytest.mark.parametrize(
    ("flag", "environ", "uid", "expected"),
    [
        ("/flag", EVERYTHING, 7, "/flag"),
        (None, EVERYTHING, 7, "/own/state"),
        (None, without("RERANK_SERVER_STATE_DIR"), 7, "/var/lib/unit"),
        (None, {"HOME": "/root"}, 0, "/var/lib/rerank-server"),
        (None, {"HOME": "/home/u"}, 7, "/home/u/.local/state/rerank-server"),
        (None, {}, 7, str(Path.home() / ".local/state/rerank-server")),
    ],
)
def test_state_dir_is_the_first_of_flag_environment_and_the_users_usual_place(
    flag: str | None, environ: Mapping[str, str], uid: int, expected: str
) -> None:
    found = rundir.find_state_dir(Path(flag) if flag else None, environ, uid)

    assert found == StateDir(Path(expected))


def test_a_relative_flag_is_taken_from_where_the_command_was_called() -> None:
    assert rundir.find_run_dir(Path("r"), {}, 7).path == Path.cwd() / "r"
    assert rundir.find_state_dir(Path("s"), {}, 7).path == Path.cwd() / "s"


def test_prepared_directories_belong_to_one_user_alone(short_dir: Path) -> None:
    run = RunDir(short_dir / "deep" / "run")
    state = StateDir(short_dir / "state")

    for _ in range(2):
        rundir.prepare_run_dir(run, os.getuid())
        rundir.prepare_state_dir(state)

    made = [run.path, run.requests, run.outcomes, run.sockets, run.metrics, run.gateway]
    assert [oct(path.stat().st_mode & 0o777) for path in (*made, state.path, state.logs)] == [
        "0o700"
    ] * 8
    assert state.log("v1") == state.logs / "v1.log"
    assert state.events == state.path / "events.jsonl"


def test_a_run_dir_anybody_could_have_made_is_refused(short_dir: Path) -> None:
    short_dir.chmod(0o1777)
    uid = os.getuid()
    (short_dir / "mine").mkdir(mode=0o700)
    (short_dir / "link").symlink_to(short_dir / "mine")
    (short_dir / "open").mkdir()
    (short_dir / "open").chmod(0o777)

    rundir.check_owner(RunDir(short_dir / "mine"), uid)
    rundir.check_owner(RunDir(short_dir / "absent"), uid)
    with pytest.raises(RunDirError, match="is a link"):
        rundir.check_owner(RunDir(short_dir / "link"), uid)
    with pytest.raises(RunDirError, match=f"belongs to uid {uid}, not to uid {uid + 1}"):
        rundir.check_owner(RunDir(short_dir / "mine"), uid + 1)
    with pytest.raises(RunDirError, match="may be written by others; run: chmod 700"):
        rundir.check_owner(RunDir(short_dir / "open"), uid)


def test_a_link_where_only_its_owner_may_write_is_that_owners_choice(short_dir: Path) -> None:
    (short_dir / "real").mkdir()
    (short_dir / "link").symlink_to(short_dir / "real")

    rundir.check_owner(RunDir(short_dir / "link"), os.getuid() + 1)


def test_a_file_in_the_place_of_a_directory_is_refused(short_dir: Path) -> None:
    (short_dir / "file").write_text("")

    with pytest.raises(RunDirError, match="cannot be made"):
        rundir.prepare_run_dir(RunDir(short_dir / "file"), os.getuid())
    with pytest.raises(RunDirError, match="is not a directory"):
        rundir.check_owner(RunDir(short_dir / "file"), os.getuid())
    with pytest.raises(RunDirError, match="cannot be made"):
        rundir.prepare_state_dir(StateDir(short_dir / "file" / "state"))


def test_a_path_too_long_for_a_unix_socket_is_refused_with_the_excess() -> None:
    fits = RunDir(Path("/" + "r" * (107 - len("//w/v2-m3.99999.sock"))))
    longer = RunDir(Path(f"{fits.path}rr"))

    rundir.check_socket_path(fits, "v2-m3")
    with pytest.raises(RunDirError, match=r"is 2 bytes too long for the sockets of v2-m3"):
        rundir.check_socket_path(longer, "v2-m3")


def test_a_written_file_replaces_the_old_one_whole_and_leaves_nothing_else(run: RunDir) -> None:
    rundir.write_json(run.state, {"a": 1})
    with run.state.open("rb") as reader:
        rundir.write_json(run.state, {"a": "é"})

        assert reader.read() == b'{"a":1}\n'
    assert rundir.read_json(run.state) == {"a": "é"}
    assert [path.name for path in run.path.iterdir() if path.is_file()] == ["state.json"]
    assert run.state.stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_no_temporary_file(run: RunDir) -> None:
    (run.sockets / "taken").mkdir()

    with pytest.raises(IsADirectoryError):
        rundir.write_whole(run.sockets / "taken", b"x")

    assert [path.name for path in run.sockets.iterdir()] == ["taken"]


def test_reading_tells_absent_from_broken(run: RunDir) -> None:
    assert rundir.read_json(run.state) is None
    assert rundir.read_json(run.state / "below") is None
    run.state.write_text("{")
    with pytest.raises(RunDirError, match="not JSON"):
        rundir.read_json(run.state)
    run.state.write_text("[]")
    with pytest.raises(RunDirError, match="not a JSON object"):
        rundir.read_json(run.state)
    with pytest.raises(RunDirError, match="cannot be read: Is a directory"):
        rundir.read_json(run.path)
