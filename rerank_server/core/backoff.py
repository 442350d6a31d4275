"""How long to wait before the next try: doubling, capped, with jitter drawn from a hash."""

from __future__ import annotations

import hashlib


def delay(key: str, attempt: int, *, base_s: float, cap_s: float) -> float:
    """Return the seconds to wait before try number `attempt` (1 is the first retry).

    Doubles from `base_s` to `cap_s`; the jitter takes up to a quarter away and depends on `key`
    and `attempt` alone, so that a history can be replayed.
    """
    full = min(cap_s, base_s * 2.0 ** min(attempt - 1, 32))
    digest = hashlib.blake2s(f"{key}/{attempt}".encode(), digest_size=4).digest()
    return full * (1.0 - 0.25 * int.from_bytes(digest) / 0xFFFFFFFF)
