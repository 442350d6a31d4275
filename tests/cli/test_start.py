from __future__ import annotations

import os
import re
import socket
from dataclasses import replace

import pexpect

from rerank_server.supervisor.rundir import RunDir, prepare_run_dir, write_json
from tests.cli.conftest import Fake, finished
from tests.core.state_json import instance, state, version

LOADING = state(
    version("v2-m3", "STARTING", instance("v2-m3", 1, 91, "STARTING", age_s=1.0), default=True),
    version("v1", "STARTING"),
    version("v2-gemma", "DISABLED", enabled=False),
)
HALF = state(
    version("v2-m3", "RUNNING", instance("v2-m3", 1, 91), default=True),
    version("v1", "STARTING", instance("v1", 1, 92, "STARTING", age_s=2.0)),
    version("v2-gemma", "DISABLED", enabled=False),
)
READY = state(
    version("v2-m3", "RUNNING", instance("v2-m3", 1, 91), default=True),
    version("v1", "RUNNING", instance("v1", 1, 92)),
    version("v2-gemma", "DISABLED", enabled=False),
    url="http://127.0.0.1:8123",
)
BROKEN = state(
    version("v2-m3", "FAILED", reason="no model files; run: rerank-server pull v2-m3"),
    version("v1", "BACKOFF", attempt=1, retry_in_s=1.0, reason="exit code 1"),
    version("v2-gemma", "DISABLED", enabled=False),
)


def untimed(lines: list[str]) -> list[str]:
    return [re.sub(r"after [0-9.]+ s", "after N s", line) for line in lines]


def test_start_returns_when_the_versions_run_and_says_where(fake: Fake) -> None:
    for picture in (LOADING, HALF, READY):
        fake.tell(state=picture)

    done = fake.start()

    assert (done.code, done.out) == (0, ["serving on http://127.0.0.1:8123, default v2-m3"])
    assert done.err[0] == f"starting (PID: {fake.pid()})"
    # Without a terminal: a line a change, however many of the pictures were seen in time.
    assert "v1: RUNNING (PID: 92, CPU) after N s" in untimed(done.err)


def test_start_says_each_reason_when_the_default_does_not_serve(fake: Fake) -> None:
    fake.tell(state=BROKEN)

    done = fake.start()

    assert (done.code, done.out) == (1, [])
    assert done.err[1:] == [
        "v2-m3: FAILED (no model files; run: rerank-server pull v2-m3)",
        "v1: BACKOFF (restart 1 in 1 s: exit code 1)",
        "v2-gemma: DISABLED",
        "error: v2-m3: no model files; run: rerank-server pull v2-m3",
        "error: v1: exit code 1",
        f"the default version v2-m3 does not serve; the server goes on (PID: {fake.pid()}), "
        f"stop it with: rerank-server stop --run-dir {fake.options.run.path}",
    ]


def test_start_with_a_wait_returns_while_versions_still_load(fake: Fake) -> None:
    fake.tell(state=HALF)

    assert fake.start(wait="0").code == 0


def test_a_second_start_on_the_run_dir_is_refused_with_the_pid(fake: Fake) -> None:
    fake.tell(state=READY)
    fake.start()

    again = fake.start()

    assert (again.code, again.out) == (1, [])
    assert again.err == [
        f"error: a server already runs on {fake.options.run.path} (PID: {fake.pid()}); "
        f"see: rerank-server status --run-dir {fake.options.run.path}"
    ]


def test_what_a_killed_server_left_is_no_obstacle_and_not_shown(fake: Fake) -> None:
    prepare_run_dir(fake.options.run, os.getuid())
    fake.options.run.lock.touch()
    fake.options.run.pid.write_text("1 1\n")
    write_json(fake.options.run.state, BROKEN)
    fake.tell(state=READY)

    done = fake.start()

    assert done.code == 0
    assert not any("FAILED" in line for line in done.err)


def test_a_state_that_a_lost_host_left_empty_is_no_obstacle(fake: Fake) -> None:
    prepare_run_dir(fake.options.run, os.getuid())
    fake.options.run.state.touch()
    fake.tell(state=READY)

    assert fake.start().code == 0


def test_a_start_that_somebody_stops_says_that_and_not_the_end_of_the_log(fake: Fake) -> None:
    fake.tell(print="stopping")
    fake.tell(exit=0)

    done = fake.start()

    assert (done.code, done.out) == (1, [])
    assert done.err[1:] == ["error: the server was told to stop before its versions had settled"]


def test_a_server_that_ends_at_once_is_reported_by_its_own_error(fake: Fake) -> None:
    fake.tell(print="something before\nerror: 127.0.0.1:8000 is in use\nsomething after")
    fake.tell(exit=1)

    done = fake.start()

    assert (done.code, done.out) == (1, [])
    assert done.err[1:] == ["error: 127.0.0.1:8000 is in use"]


def test_a_server_that_finds_its_config_invalid_ends_the_start_with_3(fake: Fake) -> None:
    fake.tell(print="error: config.yaml:1: a\nerror: config.yaml:2: b")
    fake.tell(exit=3)

    done = fake.start()

    assert done.code == 3
    assert done.err[1:] == ["error: config.yaml:1: a", "error: config.yaml:2: b"]


def test_a_server_that_ends_without_a_word_is_reported_by_its_logs_end(fake: Fake) -> None:
    log = fake.options.state.log("supervisor")
    log.parent.mkdir(parents=True)
    log.write_text("error: of an earlier server\n")
    fake.tell(print="\n".join(f"line {number}" for number in range(9)))
    fake.tell(exit=7)

    done = fake.start()

    assert done.code == 1
    assert done.err[1:] == [
        f"error: the server ended with code 7 before it served; {log} ends:",
        *(f"  line {number}" for number in range(4, 9)),
    ]


def test_an_invalid_config_is_refused_before_anything_starts(fake: Fake) -> None:
    fake.options.config.write_text("default_version: v9\nversions: {}\nport: 3\n")

    done = fake.start()

    assert done.code == 3
    assert all(line.startswith(("error: ", "  ")) for line in done.err)
    assert not fake.options.run.path.exists()


def test_a_port_in_use_is_said_in_one_line_with_its_holder(fake: Fake) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = int(holder.getsockname()[1])
        taken = Fake(replace(fake.options, host="127.0.0.1", port=port), fake.orders)

        done = taken.start()

    assert done.code == 1
    assert done.err == [
        f"error: 127.0.0.1:{port} is in use by pid {os.getpid()}; choose another with --port"
    ]
    assert not fake.options.run.path.exists()


def test_a_run_dir_too_deep_for_sockets_is_refused(fake: Fake) -> None:
    deep = RunDir(fake.options.run.path / ("d" * 90))

    done = Fake(replace(fake.options, run=deep), fake.orders).start()

    assert done.code == 1
    assert "bytes too long for the sockets of v2-m3" in done.err[0]


def in_a_terminal(fake: Fake) -> pexpect.spawn:
    command, *arguments = fake.start_command()
    return pexpect.spawn(
        command, arguments, encoding="utf-8", timeout=20, dimensions=(24, 60), echo=False
    )


def test_a_terminal_shows_the_versions_redrawn_in_place(fake: Fake) -> None:
    terminal = in_a_terminal(fake)
    fake.tell(state=LOADING)
    terminal.expect_exact(
        "\x1b[2Kv2-m3: STARTING (PID: 91, 1 s)\r\n"
        "\x1b[2Kv1: STARTING (waiting for its turn)\r\n"
        "\x1b[2Kv2-gemma: DISABLED\r\n\x1b[J"
    )
    fake.tell(state=HALF)
    terminal.expect_exact("\x1b[3A\r\x1b[2Kv2-m3: RUNNING (PID: 91, CPU) after ")
    terminal.expect_exact("\x1b[2Kv1: STARTING (PID: 92, 2 s)\r\n")
    fake.tell(state=READY)
    terminal.expect(r"v1: RUNNING \(PID: 92, CPU\) after [0-9.]+ s\r\n")
    terminal.expect_exact("serving on http://127.0.0.1:8123, default v2-m3\r\n")
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == 0


def test_no_line_on_a_terminal_is_wider_than_it(fake: Fake) -> None:
    terminal = in_a_terminal(fake)
    reason = "a long reason " * 20
    fake.tell(state=state(version("v2-m3", "STARTING"), version("v1", "FAILED", reason=reason)))

    terminal.expect(r"\x1b\[2K(v1: FAILED \(a long reason [^\r]*…)\r\n")
    assert len(terminal.match.group(1)) <= 59
    terminal.sendintr()
    terminal.expect(pexpect.EOF)


def test_ctrl_c_detaches_and_the_server_goes_on(fake: Fake) -> None:
    terminal = in_a_terminal(fake)
    fake.tell(state=LOADING)
    terminal.expect_exact("v2-gemma: DISABLED")

    terminal.sendintr()

    pid = fake.pid()
    where = f" --run-dir {fake.options.run.path}"
    terminal.expect_exact(
        f"the server goes on (PID: {pid}); see: rerank-server status{where}; "
        f"stop it with: rerank-server stop{where}\r\n"
    )
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert fake.pid() == pid
    assert fake.command("stop").code == 0


def test_a_whole_restart_starts_the_server_as_it_was_started(fake: Fake) -> None:
    fake.tell(state=READY)
    fake.start()
    first = fake.pid()

    command, *arguments = fake.start_command(verb="restart")
    terminal = pexpect.spawn(command, arguments, encoding="utf-8", timeout=20)
    terminal.expect_exact(f"stopping (PID: {first})\r\n")
    terminal.expect(r"stopped after [0-9.]+ s\r\n")
    terminal.expect(r"starting \(PID: \d+\)\r\n")
    fake.tell(state=READY)
    terminal.expect_exact("serving on http://127.0.0.1:8123, default v2-m3\r\n")
    terminal.expect(pexpect.EOF)

    assert fake.pid() != first


def test_a_restart_with_a_broken_config_leaves_the_server_alone(fake: Fake) -> None:
    fake.tell(state=READY)
    fake.start()
    first = fake.pid()
    fake.options.config.write_text("versions: [")

    assert fake.start(verb="restart").code == 3

    assert fake.pid() == first


def test_the_real_foreground_form_is_what_is_put_in_the_background(fake: Fake) -> None:
    command = fake.options.command()

    done = finished([*command[:3], "start", "--foreground", "--config", "/nowhere.yaml"])

    assert command[1:5] == ["-m", "rerank_server", "start", "--foreground"]
    assert (done.code, done.err) == (
        3,
        ["error: /nowhere.yaml: no such file (named by --config)"],
    )
