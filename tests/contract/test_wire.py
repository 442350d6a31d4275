from __future__ import annotations

from types import ModuleType

import rerank_workers.wire
from rerank_server.core import wire


def values(module: ModuleType) -> dict[str, tuple[type, object]]:
    """Return the module's public names with type and value: 1 and 1.0 are not the same here."""
    return {
        name: (type(value), value)
        for name, value in vars(module).items()
        if not name.startswith("_")
    }


def test_both_copies_of_the_wire_contract_are_equal() -> None:
    assert values(wire) == values(rerank_workers.wire)


def test_the_wire_contract_is_constants_only() -> None:
    assert all(name.isupper() for name in values(wire))
    assert all(kind in (int, float, str) for kind, _ in values(wire).values())


def test_exit_codes_and_message_names_are_distinct() -> None:
    codes = [value for name, (_, value) in values(wire).items() if name.startswith("EXIT_")]
    up = [wire.HELLO, wire.PROGRESS, wire.READY, wire.BEAT, wire.DRAINED, wire.FAILED]
    down = [wire.CONFIGURE, wire.DRAIN, wire.STOP]

    assert len(set(codes)) == len(codes)
    assert len(set(up + down)) == len(up + down)
