"""The fixed pairs of the warm-up pass and of the deep health check."""

from __future__ import annotations

PROBE_QUERY = "Which company built the first commercial jet airliner?"
PROBE_DOCS = (
    "The de Havilland Comet was the world's first commercial jet airliner; it entered service "
    "with BOAC in 1952.",
    "The Boeing 707 entered service in 1958 and was developed by the Boeing Company.",
    "Bread dough should rest for an hour before it goes into the oven.",
)
"""The first document answers the query and ranks first with any useful model."""

_PARAGRAPH = (
    "A jet airliner is a passenger aircraft driven by jet engines. Its cabin is pressurised, it "
    "climbs above most of the weather, and it needs a long runway. "
)

WARM_UP = (
    ("jet", ("jet",)),
    (PROBE_QUERY, PROBE_DOCS),
    (
        "第一架商用喷气客机是哪家公司制造的?",
        ("德哈维兰彗星型客机于1952年投入运营。", _PARAGRAPH * 4),
    ),
)
"""Requests of different shape and length, so that first-use costs are paid before ready."""
