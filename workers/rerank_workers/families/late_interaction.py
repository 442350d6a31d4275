"""Late interaction (ColBERT): every token keeps a vector, the raw score is the mean MaxSim.

For each token of the query the highest cosine with any token of the document, averaged over the
query's tokens: -1..1 whatever the query's length. The special tokens the template adds, and
padding, take part on neither side. The unit score is (1 + mean) / 2.

Done: the encoder's last states, scaled to length 1, as they come.
Not done: ColBERT's projection layer (128 dimensions or fewer), its [Q] and [D] markers, filling the
query up with [MASK] tokens, dropping punctuation. A checkpoint trained with these ranks worse here
than in its own library; the demo version's file carries no projection to begin with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from rerank_workers.engines.batch import Floats
from rerank_workers.engines.engine import AUTO
from rerank_workers.engines.files import read_model_files
from rerank_workers.families import units
from rerank_workers.families.texts import (
    Document,
    TextEncoder,
    documents,
    load_text_encoder,
    normalized,
)
from rerank_workers.scorer import Context, Item

_NOTHING_ALIKE = -1.0  # the lowest cosine: for a query or document without a token


class LateInteraction:
    """A late-interaction model ready to score."""

    def __init__(self, encoder: TextEncoder, info: Mapping[str, str]) -> None:
        self._encoder = encoder
        self._info = info

    @property
    def mixes_requests(self) -> bool:
        """See `Scorer.mixes_requests`."""
        return self._encoder.mixes_requests

    @property
    def info(self) -> Mapping[str, str]:
        """See `Scorer.info`."""
        return self._info

    def encode(self, query: str, docs: Sequence[str]) -> list[Document]:
        """See `Scorer.encode`."""
        return self._encoder.encode(query, docs)

    def score(self, items: Sequence[Item]) -> list[float]:
        """See `Scorer.score`."""
        states = self._encoder.states(documents(items))
        return [mean_maxsim(self._vectors(query), self._vectors(doc)) for query, doc in states]

    def to_unit(self, raw: Sequence[float]) -> list[float]:
        """See `Scorer.to_unit`."""
        return units.from_cosine(raw)

    def _vectors(self, states: Floats) -> Floats:
        inner = states[self._encoder.leading : len(states) - self._encoder.trailing]
        return normalized(inner)


def mean_maxsim(query: Floats, document: Floats) -> float:
    """Average, over the query's unit vectors, the best cosine with one of the document's."""
    if len(query) == 0 or len(document) == 0:
        return _NOTHING_ALIKE
    best: Floats = (query @ document.T).max(axis=1)
    return float(best.mean(dtype=np.float64))


def load(context: Context, *, engine: str = AUTO) -> LateInteraction:
    """Load the late-interaction model of a version.

    Args:
        context: where the files are and how to run them.
        engine: "torch" for Hugging Face weights, "onnx" for model.onnx, "auto" for what is there.

    Raises:
        ModelFilesError: files are missing, damaged or of another kind.
        DeviceMemoryError: the device has no room for the model.
    """
    files = read_model_files(context.model_dir)
    encoder, settings = load_text_encoder(context, files, engine)
    info = {
        "family": "late_interaction",
        "activation": "(1 + mean MaxSim) / 2",
        **settings,
    }
    return LateInteraction(encoder, MappingProxyType(info))
