"""What `status` prints, and when it fails."""

from __future__ import annotations

import json

from tests.cli.conftest import Done, Fake, started
from tests.core.state_json import seed, state, version


def test_status_prints_the_lines_of_the_requirement(fake: Fake) -> None:
    started(fake, seed())

    assert fake.command("status") == Done(
        0,
        [
            "v2-m3: RUNNING (PID: 1234, GPU: 0)",
            "v2-gemma: RUNNING (PID: 1235, GPU: 0)",
            "v1: RUNNING (PID: 1236, CPU)",
        ],
        [],
    )


def test_status_is_1_when_the_default_does_not_serve_and_warns_beside(fake: Fake) -> None:
    started(fake, state(version("v2-m3", "FAILED", reason="bad"), config_error="config.yaml:3: x"))

    assert fake.command("status") == Done(
        1,
        ["v2-m3: FAILED (bad)"],
        ["warning: the config as it is now was refused: config.yaml:3: x"],
    )


def test_status_verbose_adds_the_figures(fake: Fake) -> None:
    started(fake, seed())

    done = fake.command("status", "-v")

    assert done.code == 0
    assert done.out[0].startswith(f"server: http://127.0.0.1:8000 (PID: {fake.pid()}, up ")
    assert "  memory    612 MB                    p95       12.3 ms" in done.out


def test_status_json_is_one_object_on_stdout(fake: Fake) -> None:
    started(fake, seed())

    done = fake.command("status", "--json")

    assert done.code == 0
    shown = json.loads("\n".join(done.out))
    assert (shown["pid"], shown["default_serves"]) == (fake.pid(), True)


def test_status_before_the_first_state_says_so(fake: Fake) -> None:
    picture = seed()
    fake.tell(state=picture)
    fake.start()
    fake.options.run.state.unlink()

    assert fake.command("status") == Done(
        1, [], [f"error: the server (PID: {fake.pid()}) has not published its state yet"]
    )


def test_status_of_a_server_of_another_release_says_so(fake: Fake) -> None:
    started(fake, seed())
    fake.options.run.state.write_text('{"schema": 99}')

    done = fake.command("status")

    assert done.code == 1
    assert done.err == [
        f"error: {fake.options.run.state}: schema 99, this release reads 1; "
        "was the server started by another release? restart it"
    ]
