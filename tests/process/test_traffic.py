"""The split of the traffic, changed under a running server by config and by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import pytest

from rerank_server.core.traffic import Arm, Traffic, arm_of
from tests.process.server import Server

pytestmark = pytest.mark.process

VERSIONS = {"v1": {}, "v2": {"env": {"TEST_SCORE": "0.2"}}}
KEYS = [f"user-{number}" for number in range(200)]


def pids(server: Server) -> dict[str, object]:
    """Return every process the server has, by what it is."""
    state = server.state()
    workers = {i["id"]: i["pid"] for v in state["versions"] for i in v["instances"]}
    return {**workers, "gateway": state["gateway"]["pid"], "server": state["server"]["pid"]}


def served(server: Server, keys: Iterable[str] = KEYS) -> list[str]:
    """Return who answers each key."""
    return [server.rerank(x_rerank_key=key).headers["x-rerank-version"] for key in keys]


def expected(share: float) -> list[str]:
    split = Traffic((Arm("v2", share),))
    return [arm_of(split, "v1", key) for key in KEYS]


def test_reload_and_verb_change_the_split_and_no_process(server: Server) -> None:
    server.configure("v1", VERSIONS, traffic={"v2": 5})
    server.start()
    before = pids(server)
    by_config = served(server)

    done = server.cli("traffic", "v2=10")
    by_operator = served(server)
    said = server.rerank(x_rerank_key=KEYS[0]).headers["x-rerank-traffic"]
    reset = server.cli("traffic", "--reset")
    by_config_again = served(server)
    server.configure("v1", VERSIONS, traffic={"v2": 50})
    reload = server.cli("reload")
    by_new_config = served(server)

    assert (done.returncode, reset.returncode, reload.returncode) == (0, 0, 0), done.stderr
    assert by_config == by_config_again == expected(5)
    assert by_operator == expected(10)
    assert by_new_config == expected(50)
    assert said == f"{by_operator[0]}; share=90; by=key; source=operator"
    assert reload.stdout == "kept: v1, v2\n"
    assert pids(server) == before
    assert all(instance["pid"] for v in server.state()["versions"] for instance in v["instances"])
    assert [event for event in server.events() if event.get("to") == "DRAINING"] == []


def test_the_verb_shows_shares_counts_and_who_set_them(server: Server) -> None:
    server.configure("v1", VERSIONS, traffic={"v2": 50})
    server.start()
    counts = Counter(served(server))

    shown = json.loads(server.cli("traffic", "--json").stdout)
    status = server.cli("status")

    assert shown == {
        "schema": 1,
        "source": "config",
        "shares": {"v2": 50.0, "v1": 50.0},
        "requests": {name: {"sent": n, "served": n} for name, n in counts.items()},
    }
    assert status.stdout.splitlines()[-1] == "traffic: v2 50%, v1 50% (config)"


def test_an_operators_word_outlives_the_server_but_not_a_new_config(server: Server) -> None:
    server.configure("v1", VERSIONS, traffic={"v2": 5})
    server.start()
    server.cli("traffic", "v2=100")
    server.stop()

    server.start()
    after_a_restart = served(server, KEYS[:20])
    server.configure("v1", VERSIONS, traffic={"v2": 0})
    server.cli("reload")
    after_a_new_config = served(server, KEYS[:20])

    assert set(after_a_restart) == {"v2"}
    assert set(after_a_new_config) == {"v1"}
    noted = [event.get("event") for event in server.events()]
    assert "operator's traffic dropped" in noted
    changes = [e for e in server.events() if e.get("event") == "traffic changed"]
    assert [(e["shares"], e["source"]) for e in changes] == [
        ({"v2": 5.0}, "config"),
        ({"v2": 100.0}, "operator"),
        ({"v2": 100.0}, "operator"),
        ({"v2": 0.0}, "config"),
    ]
    assert str(changes[1]["actor"]).startswith("cli pid ")


def test_an_edited_config_is_not_taken_on_by_the_verb(server: Server) -> None:
    server.configure("v1", VERSIONS)
    server.start()
    generation = server.state()["generation"]
    server.config_path.write_text("half: written")

    done = server.cli("traffic", "v2=100")

    assert done.returncode == 0, done.stderr
    assert set(served(server, KEYS[:5])) == {"v2"}
    state = server.state()
    assert (state["generation"], state["config_error"]) == (generation, None)


def test_what_cannot_be_is_refused_by_the_server(server: Server) -> None:
    server.configure("v1", {**VERSIONS, "v3": {"enabled": False}})
    server.start()

    refused = [server.cli("traffic", *words) for words in (["v4=1"], ["v3=1"], ["v2=101"])]

    assert [done.returncode for done in refused] == [1, 1, 1]
    assert [done.stderr for done in refused] == [
        "error: refused: no version 'v4' here; there are: v1, v2, v3\n",
        "error: refused: v3 is not enabled; enable it in the config and reload\n",
        "error: refused: v2: 101 is no share; give 0 to 100 percent\n",
    ]
    assert set(served(server, KEYS[:5])) == {"v1"}


def test_the_share_of_a_version_that_failed_is_answered_by_the_default(server: Server) -> None:
    failing = {"v2": {"env": {"TEST_MODE": "fail at import"}, "fallback": "none"}}
    server.configure("v1", {**VERSIONS, **failing}, traffic={"v2": 100})
    server.start()

    answer = server.rerank()

    assert answer.status_code == 200
    assert answer.headers["x-rerank-version"] == "v1"
    assert answer.headers["x-rerank-fallback"] == "v2; reason=failed"
    assert answer.headers["x-rerank-traffic"] == "v2; share=100; by=request; source=config"
