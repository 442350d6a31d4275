"""How a pair becomes a number: one module per family of models.

A family is one module with a function `load(context, ..., engine="auto") -> Scorer`, one line in
`registry.py` and one template. Families decide what the model reads and what its output means;
`engines` decide how it is run.
"""

from rerank_workers.families.by_hand import ByHand
from rerank_workers.families.registry import FAMILIES, load

__all__ = ["FAMILIES", "ByHand", "load"]
