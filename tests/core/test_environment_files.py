from __future__ import annotations

import pytest

from rerank_server.core.environment import failure, fits, reason, stamp

OURS = b"tinylib==1.0\n"
OTHERS = b"tinylib==2.0\n"


def test_a_failed_install_is_told_for_the_requirements_that_failed() -> None:
    text = failure("no such release", OURS)

    assert reason(text, OURS) == "no such release"
    assert reason(text, OTHERS) is None


def test_a_stamp_fits_the_requirements_it_was_made_from() -> None:
    text = stamp(OURS, {"python": "3.11", "paths": ["/base"]})

    assert fits(text, OURS)
    assert not fits(text, OTHERS)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"requirements_sha256": 3}'])
def test_what_is_no_stamp_fits_nothing(text: str) -> None:
    assert not fits(text, OURS)
    assert reason(text, OURS) is None
