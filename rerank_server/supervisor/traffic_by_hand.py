"""Whether an operator may split the traffic as asked."""

from __future__ import annotations

from collections.abc import Mapping

from rerank_server.config import Config
from rerank_server.config_traffic import bad_shares
from rerank_server.names import nearest


def refusal(shares: Mapping[str, float] | None, config: Config, rollout: str | None) -> str | None:
    """Return why these shares cannot be, in one sentence; None when they can.

    None for shares asks for those of the config. `rollout` says why one leaves none to set.
    """
    if rollout is not None:
        return rollout
    for name, share in (shares or {}).items():
        why = _bad_share(name, share, config)
        if why is not None:
            return why
    return bad_shares(shares or {}, config.default_version)


def _bad_share(name: str, share: float, config: Config) -> str | None:
    if name not in config.versions:
        near = nearest(name, config.versions)
        hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(config.versions)}"
        return f"no version {name!r} here; {hint}"
    if not config.versions[name].enabled:
        return f"{name} is not enabled; enable it in the config and reload"
    if not 0 <= share <= 100:
        return f"{name}: {share:g} is no share; give 0 to 100 percent"
    return None
