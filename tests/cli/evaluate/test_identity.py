"""Which model a version was: of a cascade, what its stages are together."""

from __future__ import annotations

from rerank_server.cli.evaluate.identity import Identity, identities


def fleet(pid: int = 7) -> dict[str, Identity]:
    """Return what a state file says of two versions and a cascade of them."""

    def plain(name: str, pid: int) -> dict[str, object]:
        process = {"pid": pid, "state": "RUNNING", "memory_bytes": 100, "gpu_memory_bytes": 1}
        return {"name": name, "info": {"engine": f"e-{name}"}, "instances": [process]}

    stages = [{"version": "v1", "keep": 9}, {"version": "v2", "keep": None}]
    fast = {"name": "v2-fast", "info": {}, "instances": [], "cascade": stages}
    return dict(identities({"versions": [fast, plain("v1", 5), plain("v2", pid)]}))


def test_a_cascade_is_its_stages_together() -> None:
    fast = fleet()["v2-fast"]

    assert fast.engine == "cascade of v1, v2"
    assert (fast.memory_bytes, fast.gpu_memory_bytes, fast.processes) == (200, 2, (5, 7))


def test_a_cascade_did_not_change_while_its_stages_did_not() -> None:
    before = fleet()["v2-fast"]

    assert before.change_to(fleet()["v2-fast"]) is None
    assert before.change_to(fleet(pid=8)["v2-fast"]) == "had a process replaced during the run"
    assert before.change_to(None) == "no longer ran at the end"
