"""What a rollout is to do, by the config and by what an operator says over it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from pydantic import ValidationError

from rerank_server.config import Config
from rerank_server.config_traffic import RolloutConfig, rollout_faults
from rerank_server.core.guards import Guards
from rerank_server.core.rollout import Course
from rerank_server.errors import UsageError

_OF_COURSE = ("steps", "interval_s")
_OF_GUARDS = ("error_ratio", "p95_ratio", "min_requests", "mirror_tau")


def course_of(section: RolloutConfig) -> Course:
    """Return the course of a section of the config."""
    guards = section.guards
    return Course(
        to=section.to,
        steps=tuple(section.steps),
        interval_s=section.interval_s,
        guards=Guards(
            error_ratio=guards.error_ratio,
            p95_ratio=guards.p95_ratio,
            min_requests=guards.min_requests,
            mirror_tau=guards.mirror_tau,
        ),
    )


def digest_of(section: RolloutConfig | None) -> str | None:
    """Return what tells a section from another; None where there is none."""
    if section is None:
        return None
    text = json.dumps(section.model_dump(), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def asked_course(config: Config, said: Mapping[str, object]) -> Course:
    """Return the course an operator asks for: what is not said is as in the config's section.

    The section counts only if it is for the same version.

    Raises:
        UsageError: it cannot be; the message has every reason.
    """
    section = config.rollout
    to = said.get("to") or (None if section is None else section.to)
    if to is None:
        raise UsageError("to which version? config.yaml has no rollout section that says it")
    is_own = section is not None and section.to == to
    values: dict[str, object] = section.model_dump() if section is not None and is_own else {}
    guards = values.get("guards")
    own_guards: dict[str, object] = dict(guards) if isinstance(guards, dict) else {}
    values |= {"to": to} | {key: said[key] for key in _OF_COURSE if key in said}
    values["guards"] = own_guards | {key: said[key] for key in _OF_GUARDS if key in said}
    try:
        wished = RolloutConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError(
            "; ".join(_text(one["loc"], one["msg"]) for one in error.errors())
        ) from error
    faults = [_text(key[1:], text) for key, text in rollout_faults(config, wished)]
    if faults:
        raise UsageError("; ".join(faults))
    return course_of(wished)


def _text(place: tuple[int | str, ...], text: str) -> str:
    """Return a problem by the last name in its place: operators say options, not sections."""
    names = [str(part) for part in place if isinstance(part, str)]
    return f"{names[-1] if names else 'rollout'}: {text[:1].lower()}{text[1:]}"
