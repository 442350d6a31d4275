"""Which model a version was: of a cascade, what its stages are together."""

from __future__ import annotations

from rerank_server.cli.evaluate.identity import Identity, identities


def fleet(pid: int = 7, keep: int = 9, dtype: str = "f16") -> dict[str, Identity]:
    """Return what a state file says of two versions, a cascade of them, and one of another too."""

    def plain(name: str, pid: int) -> dict[str, object]:
        process = {"pid": pid, "state": "RUNNING", "memory_bytes": 100, "gpu_memory_bytes": 1}
        model = {"engine": f"e-{name}", "dtype": dtype}
        return {"name": name, "info": model, "instances": [process], "fingerprint": f"f-{name}"}

    def cascade(name: str, *stages: dict[str, object]) -> dict[str, object]:
        return {"name": name, "info": {}, "instances": [], "cascade": list(stages)}

    last: dict[str, object] = {"version": "v2", "keep": None}
    fast = cascade("v2-fast", {"version": "v1", "keep": keep}, last)
    partly = cascade("v2-partly", {"version": "v9", "keep": 2}, last)
    return dict(identities({"versions": [fast, partly, plain("v1", 5), plain("v2", pid)]}))


def test_a_cascade_is_its_stages_together() -> None:
    fast = fleet()["v2-fast"]

    assert fast.engine == "v1:9 > v2"
    assert fast.fingerprint == "f-v1:9 > f-v2"
    assert (fast.memory_bytes, fast.gpu_memory_bytes, fast.processes) == (200, 2, (5, 7))


def test_of_a_cascade_with_a_stage_that_is_not_told_of_all_stages_are_named() -> None:
    partly = fleet()["v2-partly"]

    assert partly.engine == "v9:2 > v2"
    assert (partly.memory_bytes, partly.gpu_memory_bytes) == (None, None)
    assert partly.fingerprint is None
    assert partly.processes == (7,)


def test_a_cascade_did_not_change_while_its_stages_did_not() -> None:
    before = fleet()["v2-fast"]

    assert before.change_to(fleet()["v2-fast"]) is None
    assert before.change_to(fleet(pid=8)["v2-fast"]) == "had a process replaced during the run"
    changed = "changed its files, engine or device during the run: these are figures of both"
    assert before.change_to(fleet(keep=8)["v2-fast"]) == changed
    assert before.change_to(fleet(dtype="f32")["v2-fast"]) == changed
    assert before.change_to(None) == "no longer ran at the end"
