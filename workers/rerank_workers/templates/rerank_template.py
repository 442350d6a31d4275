"""Scores pairs with whatever model lies beside this file; copy it into a version as `rerank.py`.

The kind of model is told from its own files (config.json, model.onnx). This file belongs to the
version: change it as you like, then reload the version. To run a model the library does not know,
replace `rerank` by code of your own and delete `load`: one call scores one request then.
"""

from rerank_workers import families
from rerank_workers.families import ByHand
from rerank_workers.scorer import Context, Scorer

# "auto" looks at the model's files. Else one of families.FAMILIES: "cross_encoder", "bi_encoder",
# "late_interaction", "yes_logit", "layerwise", "lightweight", "yes_no". Their own settings (a query
# instruction, say) stand in the template of that name, which lies beside this one.
FAMILY = "auto"

# "torch" runs model.safetensors or pytorch_model.bin, "onnx" runs model.onnx,
# "auto" the first of them that lies in the model folder.
ENGINE = "auto"


def load(context: Context) -> Scorer:
    """Load the model. The server calls this once, then batches pairs of several requests."""
    return families.load(context, family=FAMILY, engine=ENGINE)


_by_hand = ByHand(__file__, load)


def rerank(query: str, docs: list[str]) -> list[float]:
    """Score documents, 0..1 each, in order. For use by hand; loads the model when first called."""
    return _by_hand.rerank(query, docs)
