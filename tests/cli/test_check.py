from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Done, finished, program
from tests.process.server import Server

pytestmark = pytest.mark.process  # loads tokenizers in processes of their own


@pytest.fixture
def server(short_dir: Path) -> Iterator[Server]:
    server = Server(short_dir)
    yield server
    server.close()


def check(server: Server, *words: str) -> Done:
    places = ("--config", str(server.config_path), "--run-dir", str(server.run_dir))
    return finished(program("check", *places, *words))


def test_a_sound_configuration_is_good_and_makes_nothing(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2": {"enabled": False}, "v1-prod": {"source": "v1"}})

    assert check(server) == Done(
        0, [str(server.config_path), "v1: good", "v2: disabled", "v1-prod: good"], []
    )
    assert not server.run_dir.exists()


def test_all_problems_of_all_versions_and_of_the_place_come_at_once(
    server: Server, free_port: int
) -> None:
    server.configure(
        "v1",
        {"v1": {}, "v2": {}, "v3": {}, "v4": {}, "v5": {"device": "cuda:0"}},
        server={"port": free_port},
    )
    models = server.models_dir
    (models / "v2" / "rerank.py").write_text("def rank(query, docs): ...\n")
    (models / "v2" / "tokenizer").mkdir()
    (models / "v2" / "tokenizer" / "tokenizer.json").write_text("{}")
    (models / "v3" / "requirements.txt").write_text("tinylib\n")
    (models / "v4" / "rerank.py").unlink()
    (models / "v4").rmdir()

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port))
        holder.listen()
        done = check(server)

    assert (done.code, done.out) == (1, [str(server.config_path), "v1: good"])
    expected = [
        "v2: rerank.py does not define rerank(query, docs)",
        "v2: no model files in model/; run: rerank-server pull v2",
        "v2: tokenizer/: the tokenizer cannot be loaded",
        "v3: its requirements are not installed; run: rerank-server install v3",
        f"v4: {models}/v4 is not there; run: rerank-server pull v4",
        "v5: device cuda:0",
        f"127.0.0.1:{free_port} is in use by pid ",
    ]
    assert len(done.err) == len(expected)
    for said, text in zip(done.err, expected, strict=True):
        assert said.startswith(f"error: {text}")


def test_an_invalid_configuration_is_3_with_every_problem(server: Server) -> None:
    server.config_path.write_text("default_version: v2\nversions: {v1: {batch_size: 0}}\nporrt: 1")

    done = check(server)

    assert (done.code, done.out, len(done.err)) == (3, [], 3)


def test_a_run_dir_too_deep_for_sockets_is_said_once(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2": {}})

    done = check(server, "--run-dir", f"{server.root}/{'x' * 90}")

    assert done.code == 1
    assert [line.partition(" bytes too long")[2] for line in done.err] == [
        " for the sockets of v1; choose a shorter one with --run-dir"
    ]


def test_beside_a_running_server_it_tells_what_a_reload_would_do(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2": {}})
    server.start()
    server.configure("v1", {"v1": {"threads": 1}, "v3": {}})

    words = ("--run-dir", str(server.run_dir))
    done = finished(program("check", *words))
    as_json = finished(program("check", "--json", *words))

    assert done == Done(
        0,
        [
            str(server.config_path),
            "v1: good",
            "v3: good",
            "a reload now: started: v3; replaced: v1; stopped: v2",
        ],
        [],
    )
    assert json.loads("\n".join(as_json.out)) == {
        "config": str(server.config_path),
        "problems": [],
        "plan": {"started": ["v1", "v3"], "replaced": ["v1"], "stopped": ["v2"], "kept": []},
    }
    assert server.state()["generation"] == 1


def test_another_configuration_than_the_servers_gets_no_plan(server: Server) -> None:
    server.configure("v1", {"v1": {}})
    server.start()
    other = server.root / "other.yaml"
    other.write_text(server.config_path.read_text())

    done = check(server, "--config", str(other))

    assert done == Done(0, [str(other), "v1: good"], [])
